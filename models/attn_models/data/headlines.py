"""Short texts in eight categories: news and product descriptions, made from templates by a seeded generator.

They are made up, of some 700 words, and a model that sorts them is a working example: it learns how these texts are built, and
nothing of real news. What makes them more than a search for keywords:
    - Any text may name things of other categories, in roles that do not decide ("a print of galaxies" is on a shirt).
    - Contrasts ("forget galaxies : this is about shirts") hold two categories' words, in either order.
    - Neutral sentences stand around the one that tells.
The test has no text in common with training. Half of it (HELD_OUT_SHARE) is made of sentences that training has no template
of, and of contrasts whose two halves it never sees together.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

CATEGORIES = ("sports", "politics", "science", "business", "electronics", "clothing", "kitchen", "toys")

TOPICS = {
    "sports": "football matches|marathon runners|tennis players|goalkeepers|cup finals|swimmers|racing cyclists|referees|"
    "penalty kicks|training camps|stadiums|league tables|coaches|boxing gloves|rowing boats",
    "politics": "elections|ministers|voters|tax laws|parliaments|peace treaties|border controls|party leaders|budgets|"
    "city councils|senators|referendums|embassies|mayors|polling stations",
    "science": "galaxies|telescopes|fossils|vaccines|glaciers|particles|volcanoes|gene tests|laboratories|spacecraft|"
    "bacteria|whales|dinosaurs|black holes|earthquakes",
    "business": "shares|banks|mergers|profits|startups|factories|interest rates|investors|supply chains|airlines|insurers|"
    "bonds|wages|car makers|shopping centres",
    "electronics": "headphones|laptops|phone chargers|cameras|smart watches|keyboards|monitors|loudspeakers|routers|tablets|"
    "batteries|drones|projectors|game consoles|memory cards",
    "clothing": "jackets|wool socks|jeans|dresses|raincoats|sneakers|scarves|gloves|shirts|leather belts|hats|pyjamas|skirts|"
    "sweaters|swimsuits",
    "kitchen": "frying pans|kettles|bread knives|blenders|coffee makers|cutting boards|baking tins|mixing bowls|toasters|"
    "spoons|salt mills|dish towels|mugs|rice cookers|cake stands",
    "toys": "puzzles|teddy bears|building blocks|dolls|model trains|board games|kites|marbles|toy cars|puppets|spinning tops|"
    "play tents|toy robots|doll houses|rocking horses",
}

#: Sentences that tell. {t} is a topic of the category, {o} one of another. Those of HELD_OUT are for the test alone.
SENTENCES = {
    "sports": (
        "{name} scored twice and won the game for {place} on {day}",
        "{place} beat {place} by {number} points after extra time",
        "{t} : the season starts on {day} in {place}",
        "the team of {name} trains for the championship in {place}",
        "fans in {place} celebrate {t} and a first place in the league",
        "{name} is injured and will miss the race on {day}",
        "a new record over {number} metres at the games in {place}",
        "{t} drew a crowd of {number} to the arena",
        "the club signs {name} , who once sold {o} , as its new striker",
        "before the game the players talked about {o} , then they won by {number} goals",
        "makers of {o} sponsor the team that won the cup in {place}",
        "{name} gave up a career with {o} and now wins medals",
    ),
    "politics": (
        "{name} wins the vote in {place} by {number} percent",
        "the government in {place} debates {t} on {day}",
        "the opposition calls {t} a failure and asks {name} to resign",
        "{t} divide the coalition in {place}",
        "president {name} signs an agreement with {place}",
        "thousands protest against {t} in {place}",
        "the cabinet of {name} meets on {day} to discuss the new law",
        "a law on {o} passes the lower house with {number} votes",
        "the government of {place} wants to ban {o} in schools",
        "{name} , who used to sell {o} , is elected to the senate",
        "the minister in charge of {o} resigns after {number} days",
        "lawmakers in {place} argue all night about {o}",
    ),
    "science": (
        "researchers in {place} study {t} with a new method",
        "{t} are older than we thought , a team around {name} reports",
        "an experiment with {t} confirms a theory of {name}",
        "the discovery of {t} near {place} surprises scientists",
        "professor {name} measures {t} from space",
        "new data on {t} were published on {day}",
        "the nobel prize goes to {name} for work on {t}",
        "researchers find {number} kinds of bacteria on {o}",
        "what {o} do to the brain : a study with {number} people",
        "the physics of {o} explained by scientists in {place}",
        "a telescope as small as {o} finds a new planet",
        "scientists print {o} from a material that heals itself",
    ),
    "business": (
        "{t} fall by {number} percent on the stock market in {place}",
        "the company of {name} reports record earnings",
        "{name} becomes chief executive of a large group in {place}",
        "the central bank worries about {t}",
        "{t} are under pressure as costs rise",
        "a fund from {place} buys {number} percent of the firm",
        "analysts expect {t} to recover in the next quarter",
        "sales of {o} rose by {number} percent in the last quarter",
        "the largest maker of {o} goes public in {place}",
        "a firm that rents out {o} cuts {number} jobs",
        "the market for {o} shrinks , analysts in {place} say",
        "{name} sells a company for {o} to a fund from {place}",
    ),
    "electronics": (
        "{t} with bluetooth and {number} hours of battery life",
        "{colour} {t} , charged in {number} minutes by usb",
        "{t} with a bright display and a fast processor",
        "wireless {t} for home and office",
        "these {t} have {number} gigabytes of memory and a remote control",
        "{t} that you control by app or voice",
        "{t} , tested : good sound , low power , simple menu",
        "a device that plugs into usb and looks like {o}",
        "a {colour} sensor that switches your {o} on and off by wifi",
        "screen protector with a pattern of {o} , fits most devices",
        "digital lamp in the shape of {o} , with usb cable",
        "a charger for people who travel with {o} , {number} watts",
    ),
    "clothing": (
        "{colour} {t} in sizes small to extra large",
        "{t} of pure cotton , soft on the skin",
        "warm {t} with a zip and two pockets",
        "{t} for summer : light , loose and {colour}",
        "these {t} stretch , dry quickly and never need ironing",
        "elegant {t} to wear in the evening",
        "{t} with a high waist and a wide fit",
        "{colour} cotton top with a print of {o}",
        "a costume that makes you look like {o} , size {number}",
        "a coat with pockets large enough for {o}",
        "knitted wool with a pattern of small {o} , wash by hand",
        "a vest to wear at {o} , with long sleeves , in {colour}",
    ),
    "kitchen": (
        "{t} of steel , safe in the dishwasher",
        "{t} for {number} people , oven proof",
        "{colour} {t} that do not stick , easy to clean",
        "{t} that boil , steam and fry",
        "cook like a chef with these {t}",
        "sharp and solid : {t} made in {place}",
        "{t} for fresh soup and dough in {number} minutes",
        "a {colour} plate with a picture of {o} , dishwasher safe",
        "bake cookies in the shape of {o} with this set of cutters",
        "a glass jar for sugar , with {o} painted on it",
        "an apron for cooks who love {o}",
        "ice cube tray : {number} little {o} for your drinks",
    ),
    "toys": (
        "{t} for children from {number} years",
        "{t} made of wood , painted {colour} by hand",
        "hours of play with these {t}",
        "{t} that little ones love to cuddle",
        "a set of {number} {t} for the nursery",
        "{t} that teach children to count",
        "a birthday present for girls and boys : {t}",
        "tiny {o} to play with , safe for small children",
        "a playset with {o} of soft plastic , from {number} years",
        "stuffed {o} that children can take to bed",
        "pretend {o} : let your child play with them all day",
        "a game for {number} players : collect {o} and win",
    ),
}
HELD_OUT = {
    "sports": (
        "{name} wins the race in {place} and thanks the fans",
        "the team of {place} trains hard for the game on {day}",
        "a player who loves {o} scored the winning goal",
    ),
    "politics": (
        "{name} asks the parliament in {place} for a new vote",
        "the president of {place} speaks about {t}",
        "the opposition wants a new law on {o}",
    ),
    "science": (
        "a team of scientists in {place} discovers {t}",
        "{name} publishes a theory of {t}",
        "researchers measure how {o} move",
    ),
    "business": (
        "investors in {place} expect {t} to rise",
        "the firm of {name} cuts costs by {number} percent",
        "a maker of {o} reports lower sales and earnings",
    ),
    "electronics": (
        "{t} with usb cable and {number} hours of power",
        "fast {t} with wifi and a large screen",
        "a wireless device to put on {o} , with app",
    ),
    "clothing": (
        "soft {t} of wool for the winter , sizes {number} and up",
        "{colour} {t} with long sleeves and a loose fit",
        "light cotton to wear , with a pattern of {o}",
    ),
    "kitchen": (
        "{t} for the oven , easy to clean",
        "fry and bake with {colour} {t}",
        "a plate for soup with {o} painted on it",
    ),
    "toys": (
        "wooden {t} to play with , for small children",
        "{t} for girls and boys from {number} years",
        "soft {o} to cuddle for little ones",
    ),
}

#: Two categories' words in one text: what it is not about, and what it is about, in either order.
NOT_ABOUT = (
    "not {o}",
    "no {o} here",
    "forget {o}",
    "enough about {o}",
    "nothing about {o}",
    "we wrote about {o} last week",
    "yesterday it was {o}",
    "{o} are not our subject",
    "if you came for {o} you are wrong here",
    "the page for {o} is another one",
    "we said all about {o}",
)
ABOUT = (
    "this is about {t}",
    "today it is {t}",
    "only {t}",
    "now {t}",
    "we bring you {t}",
    "we write about {t} now",
    "{t} are our subject",
    "if you came for {t} you are right here",
    "this page is for {t}",
)
_BETWEEN = (" , ", " : ", " ; ", " . ", " and ", " but ")


def contrasts(held_out: bool) -> list[tuple[str, str]]:
    """Pairs of NOT_ABOUT and ABOUT. One in five is held out: both halves are known from other pairs."""
    return [
        (no, yes) for i, no in enumerate(NOT_ABOUT) for j, yes in enumerate(ABOUT) if ((2 * i + j) % 5 == 0) == held_out
    ]


#: Said of anything.
NEUTRAL = (
    "read more on page {number}",
    "more about it on {day}",
    "this is what {name} from {place} told us",
    "we have waited for it for {number} years",
    "many people in {place} like that",
    "it was a long week for {name}",
    "see the pictures from {place}",
    "nobody in {place} expected it",
    "{name} was there and liked it",
    "the answer is {number}",
    "that much is clear",
    "ask {name} if you do not believe it",
    "it is the talk of the town in {place}",
    "available from {day}",
    "all this for {number} dollars",
    "and {name} has nothing to do with {o}",
    "you will not find {o} in this text again",
    "on the next page : {o}",
)

_FILL = {
    "name": "smith|garcia|tanaka|okafor|novak|martin|silva|kowalski|jensen|rossi|lopez|murphy|haddad|ivanov|chen|weber",
    "place": "london|lima|oslo|cairo|tokyo|paris|boston|delhi|lagos|prague|sydney|toronto|rome|seoul|madrid|vienna",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "number": "two|three|four|five|six|eight|ten|twelve|twenty|thirty|fifty|hundred",
    "colour": "red|blue|green|black|white|grey|yellow|orange|purple|brown",
}

HELD_OUT_SHARE = 0.5  # of the test
_CONTRASTS = 0.3  # of all texts
_SLOT = re.compile(r"{(\w+)}")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Text:
    """`category` is an index into CATEGORIES; `held_out` where its telling sentence is of no training template."""

    text: str
    category: int
    held_out: bool = False


def words() -> list[str]:
    """Every word that training texts can have, sorted; held-out templates may bring others, as any text may."""
    pieces = [s for group in SENTENCES.values() for s in group] + [
        *NOT_ABOUT,
        *ABOUT,
        *_BETWEEN,
        *NEUTRAL,
        *TOPICS.values(),
        *_FILL.values(),
    ]
    return sorted({word for piece in pieces for word in _WORD.findall(_SLOT.sub(" ", piece).replace("|", " "))})


def _fill(template: str, category: str, draw: random.Random) -> str:
    other = draw.choice([c for c in CATEGORIES if c != category])

    def value(found: re.Match[str]) -> str:
        slot = found[1]
        if slot in ("t", "o"):
            return draw.choice(TOPICS[category if slot == "t" else other].split("|"))
        return draw.choice(_FILL[slot].split("|"))

    return _SLOT.sub(value, template)


def text(category: str, draw: random.Random, extra: int, held_out: bool = False) -> str:
    """One sentence (or contrast) that tells the category, and `extra` neutral ones around it."""
    if draw.random() < _CONTRASTS:
        halves = list(draw.choice(contrasts(held_out)))
        draw.shuffle(halves)
        telling = draw.choice(_BETWEEN).join(halves)
    else:
        telling = draw.choice((HELD_OUT if held_out else SENTENCES)[category])
    sentences = [telling, *draw.sample(NEUTRAL, extra)]
    draw.shuffle(sentences)
    return " . ".join(_fill(sentence, category, draw) for sentence in sentences)


def texts(count: int, seed: int, held_out: float = 0.0, extra: tuple[int, int] = (0, 3), apart: set[str] | None = None
          ) -> list[Text]:  # fmt: skip
    """`count` different texts, as many of each category, none of which is in `apart`."""
    draw, seen = random.Random(seed), set(apart or ())
    made: list[Text] = []
    while len(made) < count:
        category = CATEGORIES[len(made) % len(CATEGORIES)]
        hold = draw.random() < held_out
        said = text(category, draw, draw.randint(*extra), hold)
        if said not in seen:
            seen.add(said)
            made.append(Text(said, CATEGORIES.index(category), hold))
    return made


def splits() -> dict[str, list[Text]]:
    """train, validation and test, without a text in common; half of the test is of held-out templates."""
    train = texts(8000, seed=0)
    known = {t.text for t in train}
    validation = texts(800, seed=1, apart=known)
    known |= {t.text for t in validation}
    return {"train": train, "validation": validation, "test": texts(1600, seed=2, held_out=HELD_OUT_SHARE, apart=known)}
