"""A small made-up corpus in the layout of the Large Movie Review Dataset, with word vectors of its vocabulary.

A grammar writes the reviews. A template is a sentence with slots in braces; a slot is filled from the table
of its name, and the filling may hold slots again. Of the opinions in a review most agree with its star
rating, the more so the clearer the rating. Some opinions are said by negation ("never dull") or contrast
("although the plot is thin, the acting is superb"), where the bag of words alone says little or misleads.

Only `random.Random.random`, integers and roundings far coarser than floating-point error decide what is
written, so the bytes are the same on every machine and Python version.
"""

import random
import re
from collections import Counter
from pathlib import Path

import numpy as np

from common.files import make_directory, new_file

SEED = 598
# folder, number of reviews, their ratings in turn (0: unlabelled)
FOLDERS = [
    ("train/pos", 500, (7, 8, 9, 10)),
    ("train/neg", 500, (1, 2, 3, 4)),
    ("train/unsup", 2000, (0,)),
    ("test/pos", 500, (7, 8, 9, 10)),
    ("test/neg", 500, (1, 2, 3, 4)),
]
# the share of the aspects of a film that the reviewer likes, by stars
FAVOURABLE = {1: 0.04, 2: 0.07, 3: 0.12, 4: 0.17, 5: 0.4, 6: 0.6, 7: 0.83, 8: 0.88, 9: 0.93, 10: 0.96}

GLOVE_DIMENSIONS = 50
GLOVE_WINDOW = 6  # tokens on either side
GLOVE_CONTEXTS = 500  # the commonest words, whose company tells about a word
# a word seen less often in the training folders has no vector
GLOVE_MIN_COUNT = 2


def _table(text):
    """The entries of a table: separated by commas or line ends, the commonest first."""
    return [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]


def _lines(text):
    """The templates of a table: one a line, the commonest first."""
    return [line.strip() for line in text.strip().splitlines()]


# What reviews speak about: nouns, words of praise, words of blame.
ASPECTS = {
    "plot": (
        _table("plot, story, script, screenplay, storyline, premise, narrative, central mystery, twist"),
        _table("""clever, original, gripping, intricate, well-constructed, inventive, tight, ingenious,
            thought-provoking, unpredictable, airtight, layered"""),
        _table("""predictable, thin, muddled, far-fetched, hole-ridden, contrived, incoherent, formulaic,
            threadbare, recycled, preposterous, illogical"""),
    ),
    "acting": (
        _table("""acting, cast, lead performance, supporting cast, ensemble, performance of {lead},
            scene between {hero} and {rival}, casting, work of {lead}"""),
        _table("""convincing, superb, natural, heartfelt, nuanced, magnetic, believable, understated,
            spirited, soulful, commanding, tender"""),
        _table("""wooden, stiff, unconvincing, overacted, hammy, lifeless, miscast, robotic, sleepwalking,
            shrill, mechanical, amateur"""),
    ),
    "music": (
        _table("music, score, soundtrack, theme song, sound design, piano theme, opening tune, choir"),
        _table("""haunting, catchy, stirring, lush, hypnotic, melodic, soaring, rousing, evocative,
            hummable, majestic"""),
        _table("""deafening, grating, repetitive, intrusive, tuneless, blaring, syrupy, ill-fitting, tinny,
            whiny, monotonous"""),
    ),
    "pace": (
        _table("pace, editing, first half, second act, middle section, rhythm, opening hour, build-up"),
        _table("brisk, lively, well-judged, breathless, nimble, taut, energetic, crisp, fluid, economical"),
        _table("sluggish, slow, uneven, choppy, glacial, plodding, jumpy, leaden, draggy, interminable"),
    ),
    "camera": (
        _table("""camera work, cinematography, photography, lighting, look of the film, set design,
            costume work, framing, final tracking shot, colour palette"""),
        _table("""gorgeous, stunning, beautiful, elegant, striking, luminous, breathtaking, painterly,
            atmospheric, sumptuous, immaculate"""),
        _table("""shaky, murky, ugly, blurry, drab, cheap, garish, underlit, washed-out, nauseating,
            grainy"""),
    ),
    "dialogue": (
        _table("dialogue, banter, writing, humour, wit, narration, voice-over, last speech of {hero}"),
        _table("""witty, sharp, funny, hilarious, quotable, snappy, truthful, sly, eloquent, sparkling,
            playful, droll"""),
        _table("""clumsy, cringeworthy, stilted, unfunny, corny, childish, pompous, wordy, laughable, crass,
            humourless, witless"""),
    ),
    "ending": (
        _table("ending, finale, last act, climax, final scene, conclusion, epilogue, showdown in {place}"),
        _table("""satisfying, moving, unforgettable, perfect, earned, uplifting, powerful, poignant,
            cathartic, graceful, bittersweet"""),
        _table("""disappointing, rushed, abrupt, unsatisfying, ridiculous, absurd, limp, anticlimactic,
            botched, maddening, baffling"""),
    ),
    "direction": (
        _table("direction, staging, atmosphere, tone, vision of {director}, direction by {director}, tension"),
        _table("""assured, confident, masterful, imaginative, subtle, stylish, meticulous, daring, deft,
            sure-handed, precise"""),
        _table("""lazy, sloppy, heavy-handed, clueless, inept, timid, pretentious, aimless, unfocused,
            misguided, flabby"""),
    ),
    "effects": (
        _table("""special effects work, chase through {place}, action, big set piece, make-up, fight in the
            {spot}, stunt work, monster"""),
        _table("""impressive, spectacular, thrilling, dazzling, seamless, exciting, jaw-dropping, electric,
            eye-popping"""),
        _table("""fake, cheesy, unimpressive, tacky, shoddy, plastic, cartoonish, second-rate, rubbery,
            low-rent"""),
    ),
    "character": (
        _table("""main character, hero, character of {hero}, villain, romance, friendship at its heart,
            relationship of {hero} and {rival}, heroine, love story, back story of {rival}"""),
        _table("""likeable, charming, complex, lovable, fascinating, endearing, rounded, sympathetic,
            irresistible, relatable, touching"""),
        _table("""annoying, unlikeable, flat, one-dimensional, irritating, forgettable, obnoxious, insipid,
            bland, cardboard, tiresome"""),
    ),
}

# The same for anything.
PRAISE = _table("""
    great, good, wonderful, excellent, brilliant, fantastic, amazing, entertaining, enjoyable, terrific, lovely,
    memorable, fresh, delightful, marvellous, first-rate, remarkable, outstanding, splendid, engaging, magical,
    exquisite, captivating, rewarding, solid, absorbing, refreshing, magnificent, flawless, enchanting,
    compelling, superlative, sublime, top-notch, exceptional, riveting, extraordinary, glorious
""")
BLAME = _table("""
    bad, boring, terrible, awful, dull, poor, weak, horrible, stupid, tedious, lame, dreadful, pointless,
    mediocre, silly, pathetic, lousy, empty, painful, uninspired, atrocious, abysmal, clichéd, dismal, shallow,
    messy, soulless, worthless, tasteless, charmless, appalling, unbearable, hopeless, forced, stale, wretched,
    third-rate, unwatchable
""")
PRAISE_NOUNS = _table("""
    gem, masterpiece, delight, triumph, treasure, joy, treat, classic, pleasure, winner, revelation, wonder,
    knockout, marvel, tour de force
""")
BLAME_NOUNS = _table("""
    mess, waste of time, disaster, disappointment, bore, failure, chore, dud, letdown, turkey, embarrassment,
    insult, train wreck, fiasco, travesty
""")
PRAISE_VERBS = _table("""
    loved, enjoyed, adored, admired, liked, appreciated, cherished, savoured, fell for, cheered for, praised
""")
BLAME_VERBS = _table("""
    hated, disliked, endured, loathed, regretted, resented, suffered through, despised, winced at,
    cursed
""")

# Opinions: {fit} and its like agree with what the sentence says, {unfit} and its like are its opposite.
DIRECT = _lines("""
    The {noun} is {very} {fit}.
    The {noun} was {fit}, and the {noun2} was {fit2}.
    I thought the {noun} was {very} {fit}.
    What {a_fit} {thing_seen}!
    The {noun} is {fit}, {fit} and {fit2}.
    I {verb} the {noun}.
    {lead} is {very} {fit_person} as {hero}.
    This is {a_fit} {thing_seen}, and the {noun} is {very} {fit}.
    The {noun} struck me as {very} {fit}.
    {very} {fit} {noun}, {very} {fit2} {noun2}.
    Everybody in my row {verb} the {noun}.
    The {noun}... {fit}.
    The {noun} -- {fit}, {fit} -- is the heart of the {genre} film.
    I've rarely seen such {a_fit} {thing_seen}.
    It's {a_fit} {thing_seen} from a {director_kind} director.
    The {noun} alone makes this {a_fit} {thing_seen}.
    From the first minute the {noun} feels {fit}.
    Honestly, {titled} is a {fit_noun}.
    I {verb} every minute of it, above all the {noun}.
    We all {verb} it: {fit} {noun}, {fit2} {noun2}.
    {director} has made a {fit_noun}, and the {noun} is why.
    The {noun} gets more {fit} with every {stretch}.
    How {fit} can a {genre} film be?
    You could call the {noun} {fit}; I'd call it {very} {fit}.
    My {relative}, who {watches} {genre} films, {verb} it too.
    After {number} minutes I knew that this would be a {fit_noun}.
    Even the {noun} is {fit}, and that says it all.
    The {noun}? {fit}. The {noun2}? {fit2}.
    In a word: {fit}.
    The word for the {noun} is "{fit}".
""")
NEGATED = _lines("""
    The {noun} is never {unfit}.
    The {noun} isn't {unfit} at all.
    There is nothing {unfit} about the {noun}.
    It's not a {unfit_noun}, whatever the {critics} say.
    I didn't find the {noun} {unfit}, and the {noun2} wasn't {unfit2} either.
    This is anything but {a_unfit} {thing_seen}.
    Nobody could call the {noun} {unfit}.
    The {noun} is far from {unfit}.
    I can't say that I {unverb} the {noun}.
    Not {a_unfit} {thing_seen} by any means.
    {lead} isn't {unfit_person} for a second.
    You won't find {a_unfit} moment in the {noun}.
    My {relative} called the {noun} {unfit}, but I couldn't disagree more.
    The {noun} is hardly {unfit}.
    Don't believe the {critics} who call it {unfit}.
    It would be wrong to call the {noun} {unfit}.
    I wouldn't call it a {unfit_noun}.
""")
CONTRAST = _lines("""
    Although the {noun2} is {unfit2}, the {noun} is {fit}.
    The {noun2} may be {unfit2}, but the {noun} is {very} {fit}.
    I expected something {unfit}, but what I got was {fit}.
    The {noun2} was {unfit2} at first, yet in the end I {verb} it.
    Despite the {unfit2} {noun2}, it's {a_fit} {thing_seen}.
    Some people find the {noun} {unfit}; to me it is {fit}.
    The trailer looked {unfit}, but the film itself is {fit}.
    Even if the {noun2} is {unfit2}, I {verb} the {noun}.
    While other {genre} films are {unfit}, this one is {fit}.
    The {noun2} starts out {unfit2} and then turns {fit2}.
    {director} used to make {unfit} films, but this one is a {fit_noun}.
""")
# Opinions that only one side has.
PRAISE_LINES = _lines("""
    I highly recommend it.
    I can't wait to see it again.
    {lead} deserves an award for this.
    I laughed, I cried, and I was sorry when it ended.
    {director} knows exactly what to leave out.
    I was on the edge of my seat for {number} minutes.
    It stays with you for days.
    Do yourself a favour and watch it.
    The audience clapped when the lights came up.
    Every {stretch} has some new surprise.
    I smiled all the way home.
    They don't make them like this anymore.
    It's worth every penny of the ticket.
    It kept me guessing until the last {stretch}.
    Bravo, {director}!
    My {relative} wanted to see it again at once, and so did I.
    It's a must-see for everyone who {watches} {genre} films.
    I bought the disc the very next {weekday}.
""")
BLAME_LINES = _lines("""
    Avoid it at all costs.
    I want my money back.
    I almost fell asleep after {number} minutes.
    {lead} looks bored throughout.
    Save your money and stay at home.
    I kept looking at my watch.
    Half of the audience walked out.
    That's {number} minutes of my life I'll never get back.
    Who thought that this was a good idea?
    {director} should be ashamed.
    I couldn't care less what happened to {hero}.
    It drags on and on.
    Nothing in it makes any sense.
    I wish I'd done the dishes instead.
    My {relative} gave up before the {stretch} in the {spot}.
    I turned it off, and only {drink} brought me back.
    The {number} writers can't agree on what {hero} wants.
    Skip it and read a book about {plural} instead.
""")

# What happens in the film, and other things that tell nothing.
PLOT_FIRST = _lines("""
    {hero} is a {trait} {job} who {comes} {place} to find a {trait_thing} {thing}.
    The film tells of {hero}, a {trait} {job} from {place}, and of {rival}, {his} {trait} {kin}.
    {hero} ({lead}) is a {job} in {place}, where a {thing} has vanished from the {spot}.
    It is {year}, and a {trait} {job} by the name of {hero} {comes} {place}.
    In {place}, a town of {number} houses and one {spot}, lives {hero}, a {trait} {job}.
    One {weekday} in {month} a {job} called {hero} finds a {trait_thing} {thing} under the {spot}.
    {lead} plays {hero}, a {trait} {job} with a {thing}, a {animal} and {number} unpaid bills.
    When {his} {kin} goes missing, the {trait} {job} {hero} {comes} {place} with only a {thing}.
""")
PLOT_NEXT = _lines("""
    {then} {hero} {meets} {rival}, a {trait} {job} with a {trait_thing} {thing}.
    {then} the two of them {travel} to {place2}, where somebody has hidden a {thing}.
    {rival} has a {thing}, a {animal} and no plan.
    {then} {he} {finds} a {thing} in the {spot}.
    Between the {spot} and the {spot} there is a {trait_thing} door that nobody opens.
    {rival}, it turns out, was once a {job} in {place2}.
    {then} the {animal} runs off with the {thing}, and {hero} has to follow it to the {spot}.
    "Where did you put the {thing}?" asks {rival}, and {hero} points at the {spot}.
    {then} a letter comes from {place2}, and {he} {hides} it in a {thing}.
    {number} years later, {hero} {comes} the {spot} with a {trait} {job}.
    A {job}, a {job} and a {animal} are seen near the {spot} in {month}.
    {hero} says that {he} has never been to {place2}, but {rival} {knows} about the {thing}.
    {then} {he} trades {his} {thing} for a {thing}, and the {job} of {place} takes note.
    At {hour} o'clock the {job} rings the bell of the {spot}.
    The {trait} {job} ({extra}) wants to buy the {spot} for {price}.
    "You can't just walk into a {spot} with a {animal}," says {rival}.
    {then} everybody in {place} looks for the {thing}, from the {job} to the {job}.
    It rains, and {hero} {waits} in the {spot} with {his} {kin}.
    {then} {rival} {meets} a {job} from {place2} who {collects} {plural}.
    By {weekday} the {thing} is back in the {spot}, and the {animal} is gone.
    {his_cap} {kin} keeps {number} {plural} in the {spot}; {rival} counts them.
    There are scenes with {plural}, with {plural} and with a {trait} {animal}.
    {hero} and {rival} {travel} for {number} days, through {place2} and past the {spot}.
    The {kin} of {rival} ({extra}) {knows} where the {thing} came from.
    {then} {hero} learns what a {rare} is.
""")
ASIDES = _lines("""
    I saw it on a {weekday} with my {relative}.
    The film runs for {number} minutes.
    It was shot in {place} in {year}.
    {director} made {small_number} films before this one.
    I had read the book by {extra} when I was {small_number}.
    There were {small_number} people in the cinema, and one of them was my {relative}.
    {lead} was a {job} before {he_lead} became an actor.
    It's the {ordinal} film about a {job} that I've seen since {month}.
    {titled} came out in {year}.
    The book has {number} pages and no {animal}.
    As far as I know, it cost {price}.
    My {relative} {watches} {genre} films; I mostly watch {genre} films.
    I watched it at home, with {drink}.
    The print that I saw had {small_number} scenes in black and white.
    {lead} also wrote the part of {rival}.
    Look for {extra} in a small part as the {job}.
    The DVD comes with a short film about {plural}.
    For the record, I am a {job} and I own a {animal}.
    Somewhere in it there is even a {rare}.
    The {rare} in the {ordinal} scene is real, says {director}.
""")

OPENINGS = _lines("""
    I saw {titled} last {weekday}.
    {titled} is a {genre} film by {director}.
    {director} made {titled} in {year}, with {lead} as {hero}.
    Where do I start with {titled}?
    My {relative} took me to see {titled}.
    {titled} ({year}) is the {ordinal} film by {director}.
    I've now seen {titled} {small_number} times.
    So this is {titled}, the {genre} film that everyone in {place} talks about.
    OK, {titled}.
    {lead} and {extra} meet again in {titled}.
""")
PRAISE_CLOSINGS = _lines("""
    {high}/10.
    {high} out of 10.
    All in all, {a_praise} {thing_seen}. {high}/10.
    Highly recommended.
    See it!
    I give it {high} stars out of 10.
    Don't miss it.
    Two thumbs up.
    Go and see {titled}, and take your {relative} with you.
""")
BLAME_CLOSINGS = _lines("""
    {low}/10.
    {low} out of 10.
    All in all, {a_blame} {thing_seen}. {low}/10.
    Not recommended.
    AVOID!
    I give it {low} stars out of 10.
    Don't bother.
    Two thumbs down.
    Stay away from {titled}, and warn your {relative}.
""")
OPEN_CLOSINGS = _lines("""
    That's all I have to say about {titled}.
    Make of that what you will.
    See it or don't; I'm off to {place}.
    And that was {titled}.
    The credits end with a {animal}.
""")

TABLES = {
    "very": _table("""very, really, so, truly, quite, simply, absolutely, rather, pretty, utterly, extremely,
        downright, surprisingly, incredibly, totally, consistently, thoroughly, genuinely, strangely,
        unbelievably, completely, oddly, positively, undeniably, wholly"""),
    "thing_seen": _table("""film, movie, {genre} film, picture, piece of work, evening, {genre} movie, debut,
        experience, remake, sequel, adaptation, way to spend {number} minutes, piece of cinema, spectacle"""),
    "a_fit": ["a {fit}", "a {very} {fit}", "a {fit}, {fit}"],
    "a_unfit": ["a {unfit}"],
    "a_praise": ["a {praise}", "a {very} {praise}"],
    "a_blame": ["a {blame}", "a {very} {blame}"],
    "praise": PRAISE,
    "blame": BLAME,
    "genre": _table("""horror, crime, science fiction, war, spy, western, comedy, family, action, ghost, heist,
        sports, samurai, vampire, gangster, zombie, road, costume, disaster, courtroom, martial-arts, pirate,
        romance, silent, prison, space"""),
    "director_kind": _table("""young, first-time, seasoned, veteran, little-known, famous, French, Swedish,
        Polish, Korean, British, Brazilian, retired, self-taught, Finnish, Hungarian"""),
    "stretch": _table("scene, minute, turn, shot, chapter, reel, frame, episode, half hour, cut"),
    "critics": _table("critics, reviewers, papers, other comments here, snobs, posters, bloggers, pundits"),
    "relative": _table("""wife, husband, brother, sister, friend, mother, father, son, daughter, aunt, uncle,
        cousin, boss, neighbour, grandmother, flatmate, dentist, nephew, niece, grandfather, landlady,
        chess partner, plumber, stepbrother"""),
    "watches": _table("watches, collects, never misses, writes about, usually sees, studies, teaches"),
    "drink": _table("""a cup of tea, popcorn, coffee, a beer, pizza, cold soup, a glass of milk, cocoa, two
        sandwiches, lemonade, a bowl of noodles, cider, pretzels, leftover curry"""),
    "weekday": _table("Saturday, Friday, Sunday, Thursday, Tuesday, Wednesday, Monday"),
    "month": _table("""June, October, May, December, August, March, January, November, April, July, September,
        February"""),
    "year": [str(year) for year in range(2006, 1930, -1)],
    "number": [str(number) for number in (90, 20, 100, 15, 30, 10, 120, 40, 12, 80, 45, 95, 110, 25, 60, 300)]
    + ["two", "three", "five", "seven", "a hundred", "a thousand", "sixteen", "forty", "1,200", "eleven"],
    "small_number": _table("two, three, four, six, five, ten, nine, twelve, eight, seven, thirteen, twenty"),
    "ordinal": _table("second, first, third, fourth, fifth, last, sixth, seventh, tenth, twelfth"),
    "hour": _table("three, five, six, nine, eleven, twelve, four"),
    "price": _table("$500, $2 million, $40, two coins, $75 million, a sack of flour, $9, 30 shillings"),
    "high": ["8", "9", "10", "9", "7"],
    "low": ["2", "3", "1", "4", "2"],
    "trait": _table("""young, quiet, old, tall, retired, former, shy, lonely, curious, thoughtful, left-handed,
        wealthy, freckled, nervous, sleepless, barefoot, stubborn, bearded, widowed, travelling, near-sighted,
        red-haired, silent, provincial, itinerant, long-legged, part-time, forgetful, one-eyed, talkative,
        penniless, homesick, ageing, superstitious, cautious, married, grey, hungry, seasick, bilingual"""),
    "job": _table("""teacher, detective, sailor, baker, doctor, soldier, lawyer, writer, farmer, thief, nurse,
        policeman, painter, driver, clerk, priest, waiter, pilot, mayor, singer, carpenter, gardener, tailor,
        spy, judge, student, barber, butcher, fisherman, librarian, dancer, boxer, miner, cook, captain,
        photographer, journalist, plumber, clockmaker, magician, smuggler, locksmith, lighthouse keeper,
        beekeeper, accordion player, piano tuner, ferryman, puppeteer, gravedigger, cartographer, blacksmith,
        postman, violinist, stationmaster, bookkeeper, chemist, astronomer, translator, glassblower, midwife,
        trapeze artist, taxidermist, bell-ringer, chimney sweep, falconer, umbrella mender, surveyor,
        cheesemonger, stenographer, botanist, sword swallower, hatter, vet, organist, croupier, cobbler"""),
    "kin": _table("""brother, sister, father, mother, uncle, daughter, son, cousin, aunt, grandfather, twin,
        wife, husband, godmother, stepfather, nephew, grandmother, half-sister, fiancée, lodger"""),
    "trait_thing": _table("""strange, small, old, wooden, red, broken, locked, golden, blue, heavy, stolen,
        black, silver, secret, rusty, striped, empty-looking, hollow, nameless, crooked, velvet, ancient,
        borrowed, foreign, numbered, copper, folded, faded, unsigned, green, three-legged, dusty, sealed,
        enamel, painted, wet, frozen, square, tin, portable"""),
    "thing": _table("""letter, key, suitcase, map, ring, book, diary, photograph, painting, clock, gun, box,
        lamp, mirror, bicycle, knife, necklace, radio, coat, violin, telescope, ticket, umbrella, ladder, coin,
        passport, hat, boat, typewriter, drum, compass, bottle, candle, notebook, piano, globe, statue, chair,
        accordion, kite, camera, wheelbarrow, teapot, briefcase, telegram, tuba, rocking horse, chandelier,
        thermometer, barometer, cuckoo clock, lantern, manuscript, trumpet, fishing rod, toolbox, birdcage,
        hourglass, weathercock, sewing machine, anchor, music box, pocket watch, chessboard, saddle, samovar,
        wardrobe, garden gnome, tricycle, metronome, top hat, monocle, propeller, jigsaw, abacus, snow globe"""),
    "plural": _table("""letters, trains, horses, maps, clocks, keys, ships, masks, bees, coins, shoes, swans,
        bridges, candles, hats, stamps, goats, windmills, teacups, tunnels, balloons, ladders, umbrellas,
        turnips, kites, lighthouses, spoons, typewriters, buttons, radios, elevators, moths, comets, oysters,
        pigeons, violins, postcards, ropes, tulips, sandbags"""),
    "spot": _table("""house, station, church, garden, hotel, school, kitchen, harbour, cellar, library, attic,
        bank, theatre, forest, hospital, barn, market, castle, museum, bakery, factory, bridge, graveyard,
        office, lighthouse, swimming pool, post office, tunnel, greenhouse, windmill, courtyard, restaurant,
        railway yard, police station, boathouse, shipyard, town hall, laundry, zoo, monastery, lift, quarry,
        tram depot, stable, casino, observatory, bell tower, orchard, pawnshop, ballroom, waiting room,
        cloakroom, sauna, customs house, ice rink, aquarium, sawmill, bowling alley, brewery, planetarium,
        dovecote, broom cupboard"""),
    "animal": _table("""dog, cat, horse, goat, parrot, donkey, pig, bear, goose, mouse, monkey, sheep, crow,
        tortoise, snake, owl, camel, hedgehog, otter, ferret, llama, pelican, badger, walrus, heron, lobster,
        mule, wolfhound, penguin, newt"""),
    "then": _table("""Then, Soon, Later, Meanwhile, One night, The next morning, At the same time, After that,
        In {month}, Before long, On {weekday}, By chance, Two days later, Halfway through, Towards the end,
        Overnight, In the meantime, After the storm, During the harvest, At dawn"""),
    "comes": _table("""comes to, returns to, arrives in, moves to, is sent to, drives to, sails to, goes to,
        walks to, flees to, cycles to, takes the night train to, swims to, hitchhikes to"""),
    "meets": _table("""meets, visits, follows, helps, sees, calls, recognises, hires, writes to, overhears,
        runs into, photographs, questions, plays chess with, sketches, outwits, interviews"""),
    "finds": _table("""finds, sees, hides, builds, buries, repairs, loses, sells, paints, drops, opens, steals,
        carries, measures, polishes, unpacks, forgets, notices, borrows, auctions"""),
    "hides": _table("hides, keeps, burns, reads, locks, sews, finds, leaves, files, wraps, copies"),
    "travel": _table("""travel, drive, walk, sail, go, ride, march, fly, drift, limp, wander, row, cycle, hike,
        paddle"""),
    "knows": _table("knows, tells, asks, dreams, writes, lies, hears, sings, whispers, keeps quiet, mumbles"),
    "waits": _table("waits, sits, hides, works, sleeps, stands, reads, eats, sings, packs, writes, counts, hums"),
    "collects": _table("collects, sells, repairs, paints, studies, buys, steals, draws, breeds, exports, insures"),
    "rare": _table("""palimpsest, gazebo, sextant, cummerbund, astrolabe, marmoset, trebuchet, sarcophagus,
        theremin, zeppelin, fjord, gargoyle, harpsichord, pumpernickel, quagmire, rhododendron, bathysphere,
        cormorant, dulcimer, escritoire, flugelhorn, gyroscope, hippogriff, ibex, jackalope, kaleidoscope,
        lorgnette, mandolin, narwhal, obelisk, periscope, quince, rutabaga, spinnaker, tarantella, ukulele,
        velocipede, wigwam, xylophone, yurt, zither, armadillo, balalaika, catamaran, dirigible, epaulette,
        foghorn, gondola, hammock, icicle, jukebox, kayak, limerick, mangrove, nutcracker, ocarina, pagoda,
        quill, rickshaw, sundial, toboggan, urn, vestibule, wisteria, yak, zeugma, anemone, bassoon, clavichord,
        dormouse, espalier, fandango, gherkin, hovercraft, isthmus, juniper, kumquat, lemur, mezzanine, nougat,
        ottoman, portcullis, quadrille, ravioli, semaphore, turnstile, undertow, viaduct, whirligig, yodeller"""),
    "title_word": _table("""Lantern, River, Winter, House, Garden, Train, Night, Island, Clock, Shadow, Bridge,
        Letter, Harbour, Summer, Mirror, Heron, Storm, Orchard, Station, Moon, Salt, Thunder, Ferry, Compass,
        Tower, Sparrow, Locksmith, Umbrella, Tide, Meridian, Cipher, Magpie, Saffron, Turnstile, Equinox"""),
    "title_trait": _table("""Last, Silent, Brass, Long, Crooked, Paper, Second, Glass, Northern, Yellow, Midnight,
        Wandering, Hidden, Seventh, Velvet, Iron, Distant, Borrowed, Unlit, Cardinal"""),
    "title": [
        "The {title_trait} {title_word}",
        "{title_word} of {place}",
        "The {title_word}",
        "{hero} and the {title_word}",
        "A {title_word} in {month}",
        "The {title_word} and the {title_word}",
    ],
}

# Names are put together from these.
GIVEN_STARTS = _table("Mar, El, Tam, Jor, Lin, Bren, Os, Kel, Ves, Dar, Ot, Fen, Ror, Ysol, Hal, Quin, Zel, Thad")
SHE_ENDS = _table("ina, a, ette, isa, wen, ara, elle, indra")
HE_ENDS = _table("en, o, ick, us, an, ard, win, ulf")
FAMILY_STARTS = _table("""Ash, Brindle, Marl, Thorn, Hazel, Pell, Stan, Corn, Dun, Wether, Grim, Loft, Quill, Tarn,
    Ever, Sedge, Fother, Muckle, Olden, Yarrow, Crumb, Vander, Zim""")
FAMILY_ENDS = _table("ford, wick, by, man, ley, stone, croft, well, more, thwaite, gill, beck, snape")
PLACE_STARTS = _table("""Port, Salt, Nether, Glim, Kings, Fal, Broad, Elder, Wind, Mire, Ox, Rook, Cold, Harrow, Pepper,
    Swan, Little, Barn""")
PLACE_ENDS = _table("ton, bury, haven, mouth, stead, holm, minster, bourne, combe, worth, dale, sund")

OPINION_SHARE, PLOT_SHARE = 0.68, 0.22  # of the sentences; the rest are asides
ONE_SIDED_SHARE, NEGATED_SHARE, CONTRAST_SHARE = 0.12, 0.13, 0.12  # of the opinions; the rest are direct
CLOSING_SHARE = 0.6  # of the reviews end with a verdict
SLIP_SHARE = 0.008  # of the sentences hold a slip of the pen

# A word of the sample's sentences as nltk.word_tokenize cuts it: "don't" is "do" and "n't".
_TOKEN = re.compile(r"o'clock|\.\.\.|--|\w+(?=n't)|n't|'(?:s|d|m|ve|re|ll)\b|\w+(?:[-,/]\w+)*|[^\w\s]")
_SLOT = re.compile(r"\{(\w+)\}")
_LONG_WORD = re.compile(r"(?<!')\b[a-z]{5,}\b(?!')")
_A_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou](?!ne-|nique)|[AEIOU][a-z])")


def write_sample(directory):
    """Writes the reviews and the word vectors below `directory`.

    Returns (path of the folder `aclImdb`, path of `glove.sample.txt`). In `aclImdb/{train,test}/{pos,neg}` and
    `aclImdb/train/unsup` lies a file `<number>_<stars>.txt` for each review, 0 stars for unlabelled ones. The
    vectors are text in the format of GloVe, 50 numbers a word. InputError where a file cannot be written.
    """
    directory = Path(directory)
    rng = random.Random(SEED)
    training_tokens = []
    for folder, count, ratings in FOLDERS:
        make_directory(directory / "aclImdb" / folder)
        for number in range(count):
            rating = ratings[number % len(ratings)]
            sentences = write_review(rng, rating or 1 + int(10 * rng.random()))
            with new_file(directory / "aclImdb" / folder / f"{number}_{rating}.txt", durable=False) as file:
                file.write(_join(rng, sentences).encode())
            if folder.startswith("train"):
                training_tokens.append([token for sentence in sentences for token in tokens(sentence)])

    glove = directory / "glove.sample.txt"
    with new_file(glove) as file:
        for word, vector in zip(*word_vectors(training_tokens), strict=True):
            file.write(f"{word} {' '.join(f'{value:.5f}' for value in vector)}\n".encode())
    return directory / "aclImdb", glove


def tokens(sentence):
    """The lower-case tokens of one sentence of the sample, equal to those of `nltk.word_tokenize`."""
    found = []
    quotes = 0
    for token in _TOKEN.findall(sentence.lower()):
        if token == '"':
            token = "''" if quotes % 2 else "``"
            quotes += 1
        found.append(token)
    return found


def write_review(rng, rating):
    """The sentences of one review that gives `rating` (1 to 10) stars."""
    film = _new_film(rng)
    used = set()
    liked = [area for area in ASPECTS if rng.random() < FAVOURABLE[rating]]
    verdict = rating > 5
    # the sum of two draws: most reviews are of middling length
    wanted = 42 + int(85 * (rng.random() + rng.random()))
    if rng.random() < 0.05:
        wanted = 230 + int(35 * rng.random())

    sentences = []
    if rng.random() < 0.8:
        sentences.append(_sentence(rng, OPENINGS, film, used))
    length = sum(len(tokens(sentence)) for sentence in sentences)
    plot = PLOT_FIRST
    while length < wanted:
        kind = rng.random()
        if kind < OPINION_SHARE:
            sentence = _opinion(rng, verdict, liked, film, used)
        elif kind < OPINION_SHARE + PLOT_SHARE:
            sentence = _sentence(rng, plot, film, used)
            plot = PLOT_NEXT
        else:
            sentence = _sentence(rng, ASIDES, film, used)
        sentences.append(sentence)
        length += len(tokens(sentence))

    if rng.random() < CLOSING_SHARE:
        closings = PRAISE_CLOSINGS if verdict else BLAME_CLOSINGS
        sentences.append(_sentence(rng, closings, film, used))
    elif rng.random() < 0.5:
        sentences.append(_sentence(rng, OPEN_CLOSINGS, film, used))
    return sentences


def _opinion(rng, verdict, liked, film, used):
    """One sentence of praise or blame; `liked` are the aspects that the reviewer likes, `verdict` the whole."""
    disliked = [area for area in ASPECTS if area not in liked]
    kind = rng.random()
    if kind < ONE_SIDED_SHARE:
        return _sentence(rng, PRAISE_LINES if verdict else BLAME_LINES, film, used)
    templates = DIRECT
    if kind < ONE_SIDED_SHARE + NEGATED_SHARE:
        templates = NEGATED
    elif kind < ONE_SIDED_SHARE + NEGATED_SHARE + CONTRAST_SHARE and liked and disliked:
        templates = CONTRAST

    area = _equally(rng, list(ASPECTS))
    same, other = (liked, disliked) if area in liked else (disliked, liked)
    area2 = _equally(rng, other if templates is CONTRAST else same)
    slots = {"noun": ASPECTS[area][0], "noun2": ASPECTS[area2][0]}
    for prefix, favourable in (("", area in liked), ("un", area not in liked)):
        own = 1 if favourable else 2
        adjectives = PRAISE if favourable else BLAME
        slots[prefix + "fit"] = _mixed(rng, adjectives, ASPECTS[area][own])
        slots[prefix + "fit2"] = _mixed(rng, adjectives, ASPECTS[area2][own])
        slots[prefix + "fit_person"] = _mixed(rng, adjectives, ASPECTS["acting"][own])
        slots[prefix + "fit_noun"] = PRAISE_NOUNS if favourable else BLAME_NOUNS
        slots[prefix + "verb"] = PRAISE_VERBS if favourable else BLAME_VERBS
    return _sentence(rng, templates, film | slots, used)


def _equally(rng, entries):
    """An entry, all being equally likely."""
    return entries[int(len(entries) * rng.random())]


def _mixed(rng, adjectives, own):
    return own if rng.random() < 0.3 else adjectives


def _new_film(rng):
    """The tables of one film: the common ones, and those of its names, which hold one entry each."""
    hero_is_she, lead_is_she = rng.random() < 0.5, rng.random() < 0.5
    film = TABLES | {
        "hero": [_name(rng, GIVEN_STARTS, SHE_ENDS if hero_is_she else HE_ENDS)],
        "lead": [_full_name(rng, lead_is_she)],
        "director": [_full_name(rng, rng.random() < 0.5)],
        "extra": [_full_name(rng, rng.random() < 0.5)],
        "place": [_name(rng, PLACE_STARTS, PLACE_ENDS)],
        "he": ["she" if hero_is_she else "he"],
        "his": ["her" if hero_is_she else "his"],
        "his_cap": ["Her" if hero_is_she else "His"],
        "he_lead": ["she" if lead_is_she else "he"],
    }
    film["rival"] = [_name(rng, GIVEN_STARTS, _equally(rng, [SHE_ENDS, HE_ENDS]), unlike=film["hero"][0])]
    film["place2"] = [_name(rng, PLACE_STARTS, PLACE_ENDS, unlike=film["place"][0])]
    title = _expand(rng, "{title}", film)
    film["titled"] = [f'"{title}"' if rng.random() < 0.6 else title]
    return film


def _full_name(rng, is_she):
    family = _name(rng, FAMILY_STARTS, FAMILY_ENDS)
    # a double name, which hardly ever comes again
    if rng.random() < 0.02:
        family += "-" + _name(rng, FAMILY_STARTS, FAMILY_ENDS, unlike=family)
    return f"{_name(rng, GIVEN_STARTS, SHE_ENDS if is_she else HE_ENDS)} {family}"


def _name(rng, starts, ends, unlike=None):
    name = _pick(rng, starts) + _pick(rng, ends)
    while name == unlike:
        name = _pick(rng, starts) + _pick(rng, ends)
    return name


def _pick(rng, table):
    """An entry of a table, the first ones far more often than the last ones."""
    u = rng.random()
    return table[int(len(table) * u * u * u)]


def _sentence(rng, templates, slots, used):
    """A sentence from a template that this review has not yet used, if one is left."""
    template = _pick(rng, [template for template in templates if template not in used] or templates)
    used.add(template)
    sentence = _A_BEFORE_VOWEL.sub(r"\1n ", _expand(rng, template, slots))
    if rng.random() < SLIP_SHARE:
        sentence = _slip(rng, sentence)
    # a sentence, and what follows a full stop or a question mark within it, begins with a capital letter
    return re.sub(r"(?:^|[.?] )[a-z]", lambda match: match.group().upper(), sentence)


def _slip(rng, sentence):
    """The sentence with two neighbouring letters of a word exchanged."""
    words = list(_LONG_WORD.finditer(sentence))
    if not words:
        return sentence
    word = _equally(rng, words)
    i = word.start() + 1 + int((len(word.group()) - 2) * rng.random())
    return sentence[:i] + sentence[i + 1] + sentence[i] + sentence[i + 2 :]


def _expand(rng, template, slots):
    while "{" in template:
        template = _SLOT.sub(lambda match: _pick(rng, slots[match.group(1)]), template)
    return template


def _join(rng, sentences):
    """The text of a review: sentences with spaces or, at a new paragraph, HTML line breaks between them."""
    paragraph_share = 0.25 * rng.random()
    text = sentences[0]
    for sentence in sentences[1:]:
        text += ("<br /><br />" if rng.random() < paragraph_share else " ") + sentence
    return text


def word_vectors(reviews):
    """(words by decreasing count, their vectors: (V, `GLOVE_DIMENSIONS`) float64) from lists of tokens.

    The positive pointwise mutual information of words and their contexts, on its leading singular vectors
    (Levy and Goldberg, 2014, "Neural Word Embedding as Implicit Matrix Factorization").
    """
    counts = Counter(token for review in reviews for token in review)
    words = sorted((w for w in counts if counts[w] >= GLOVE_MIN_COUNT), key=lambda word: (-counts[word], word))

    together = _pairs(reviews, words)
    alone = together.sum(axis=1)
    expected = np.outer(alone, alone[:GLOVE_CONTEXTS]) / alone.sum()
    ratio = np.maximum(together[:, :GLOVE_CONTEXTS] / expected, 1)
    # multiples of 1/16 here and of 1/1024 below: their products and sums are exact
    information = np.round(16 * np.log2(ratio)) / 16

    directions = np.linalg.eigh(information.T @ information)[1][:, -GLOVE_DIMENSIONS:]
    # the sign of a singular vector is open: the largest entry is made positive
    largest = np.abs(directions).argmax(axis=0)
    directions *= np.sign(directions[largest, np.arange(GLOVE_DIMENSIONS)])
    return words, information @ np.round(1024 * directions) / 2**12


def _pairs(reviews, words):
    """How often two of `words` stand at most `GLOVE_WINDOW` tokens apart in a review: (V, V) int64."""
    index = {word: i for i, word in enumerate(words)}
    # -1 stands for a word without a vector, and for the gap that keeps reviews apart
    gap = [-1] * GLOVE_WINDOW
    ids = np.array([i for review in reviews for i in [*(index.get(token, -1) for token in review), *gap]])
    together = np.zeros(len(words) ** 2, dtype=np.int64)
    for distance in range(1, GLOVE_WINDOW + 1):
        left, right = ids[:-distance], ids[distance:]
        known = (left >= 0) & (right >= 0)
        together += np.bincount(left[known] * len(words) + right[known], minlength=len(words) ** 2)
    together = together.reshape(len(words), len(words))
    return together + together.T
