"""A pretended GPU, for machines without one: tensors stay on the CPU, but remember on which device they would lie.

    with PretendedCuda() as cuda:  # torch.cuda.is_available() is True, and tensor.device tells the pretended device
        ...
    cuda.waits  # where the program would have waited for the GPU: "1a/BOW_sentiment_analysis.py:60 item", …

An operation on tensors of two devices raises RuntimeError as CUDA does, and so do a generator of the other device and
`.numpy()` of a tensor there (TypeError). The numbers are the CPU's, bit for bit.

It cannot show what only a GPU does: the kernels of cuDNN and their float types, NCCL, how much memory there is, how
fast it is, and the order in which CUDA adds. Nor does it notice a wait inside of PyTorch's own C++ code.
"""

import sys
from contextlib import ExitStack
from unittest import mock

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import clip_grad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten

# a tensor on the CPU may meet one on the GPU in these
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
# the size of the result, or what the host does next, depends on numbers that the GPU still has to find
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.equal.default,
}


class Generator(torch.Generator):
    """A torch.Generator of either device."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls)
        self.pretended = CUDA if is_cuda(device) else CPU
        return self

    @property
    def device(self):
        return self.pretended


def is_cuda(device):
    return torch.device(device).type == "cuda"


class PretendedCuda:
    """In a `with` block there is one GPU; `waits` lists where the host waited for it."""

    def __init__(self):
        self.waits = []
        self._devices = {}  # storage: (a weak reference that keeps its address from another's use, its device)

    def device_of(self, tensor):
        _, device = self._devices.get(tensor.untyped_storage()._cdata, (None, CPU))
        return device

    def put(self, tensor, device):
        storage = tensor.untyped_storage()
        self._devices[storage._cdata] = StorageWeakRef(storage), device
        if len(self._devices) > 20_000:
            self._devices = {key: kept for key, kept in self._devices.items() if not kept[0].expired()}

    def wait(self, name):
        """Notes a wait, with the place in the project's code."""
        frame = sys._getframe(1)
        while frame and ("site-packages" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
            frame = frame.f_back
        self.waits.append(f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno} {name}")

    def __enter__(self):
        self._stack = ExitStack()

        def patch(target, name, value):
            self._stack.enter_context(mock.patch.object(target, name, value))

        patch(torch, "Generator", Generator)
        patch(torch.cuda, "is_available", lambda: True)
        patch(torch.cuda, "device_count", lambda: 1)
        patch(torch.cuda, "set_device", lambda device: None)
        patch(torch.cuda, "get_device_name", lambda device=None: "a pretended GPU")
        patch(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        patch(torch.cuda, "get_rng_state", torch.get_rng_state)
        patch(torch.cuda, "set_rng_state", torch.set_rng_state)
        patch(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
        autocast = torch.autocast
        patch(torch, "autocast", lambda kind, *args, **options: autocast("cpu", *args, **options))
        group = clip_grad._group_tensors_by_device_and_dtype  # it asks for the device in C++

        def group_here(lists, **options):
            groups = group(lists, **options)
            return {
                (self.device_of(tensors[0][0]), dtype): (tensors, rows)
                for (_, dtype), (tensors, rows) in groups.items()
            }

        patch(clip_grad, "_group_tensors_by_device_and_dtype", group_here)
        self._stack.enter_context(_Operations(self))
        self._stack.enter_context(_Functions(self))
        return self

    def __exit__(self, *error):
        self._stack.close()


class _Operations(TorchDispatchMode):
    """Sees each operation on tensors, those of the backward pass too: checks the devices, and where the result lies."""

    def __init__(self, cuda):
        super().__init__()
        self.cuda = cuda

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        device = self._device_of_result(operation, args, tensors)
        if device == CUDA and self._waits(operation, args, kwargs):
            self.cuda.wait(operation.__name__)
        storages = {tensor.untyped_storage()._cdata for tensor in tensors}
        result = operation(*args, **kwargs)
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor) and value.untyped_storage()._cdata not in storages:
                self.cuda.put(value, device)
        return result

    def _device_of_result(self, operation, args, tensors):
        if not tensors:
            return CPU
        devices = {self.cuda.device_of(tensor) for tensor in tensors if tensor.dim() > 0}
        if not devices:  # numbers alone
            devices = {CUDA} if any(self.cuda.device_of(tensor) == CUDA for tensor in tensors) else {CPU}
        if devices == {CPU} and any(self.cuda.device_of(tensor) == CUDA for tensor in tensors):
            devices = {CPU, CUDA}  # a number on the CPU may meet the GPU's tensors, but not the other way round
        if len(devices) == 1:
            return devices.pop()
        device = self.cuda.device_of(args[0])
        if operation not in COPIES and not (operation in INDEXING and device == CUDA):
            raise RuntimeError(f"Expected all tensors to be on the same device, but {operation} got both")
        self.cuda.wait(f"{operation.__name__} of both devices")
        return device

    def _waits(self, operation, args, kwargs):
        if operation is aten.repeat_interleave.Tensor:
            return kwargs.get("output_size") is None
        if operation in INDEXING:  # a mask; its ones have to be counted
            return any(index is not None and index.dtype == torch.bool for index in args[1])
        return operation in WAITING


class _Functions(TorchFunctionMode):
    """Sees what a program calls before PyTorch does: what names a device, and what asks for one."""

    def __init__(self, cuda):
        super().__init__()
        self.cuda = cuda

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function == torch.Tensor.device.__get__:
            return self.cuda.device_of(args[0])
        if function == torch.Tensor.is_cuda.__get__:
            return self.cuda.device_of(args[0]) == CUDA
        if function in (torch.Tensor.numpy, torch.Tensor.tolist) and self.cuda.device_of(args[0]) == CUDA:
            if function is torch.Tensor.numpy:
                raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
            self.cuda.wait("tolist")
        if function in (torch.Tensor.to, torch.Tensor.cpu):
            return self._move(args[0], *args[1:], **kwargs) if function is torch.Tensor.to else self._move(args[0], CPU)

        device = kwargs.get("device")
        generators = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
        for generator in generators:
            wanted = device or (self.cuda.device_of(args[0]) if isinstance(args[0], torch.Tensor) else CPU)
            if is_cuda(generator.device) != is_cuda(wanted):
                raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{generator.device}'")
        if device is None:
            return function(*args, **kwargs)
        result = function(*args, **{**kwargs, "device": "cpu"})
        self.cuda.put(result, CUDA if is_cuda(device) else CPU)
        if is_cuda(device) and function is torch.tensor:
            self.cuda.wait("tensor")
        return result

    def _move(self, tensor, *args, device=None, **kwargs):
        if args and isinstance(args[0], str | torch.device):
            device, *args = args
        dtype = next((value for value in args if isinstance(value, torch.dtype)), kwargs.get("dtype", tensor.dtype))
        before = self.cuda.device_of(tensor)
        after = before if device is None else CUDA if is_cuda(device) else CPU
        if after == before:
            return tensor.to(dtype, copy=kwargs.get("copy", False))
        self.cuda.wait(f"copy to {after.type}")
        result = tensor.to(dtype, copy=True)
        self.cuda.put(result, after)
        return result
