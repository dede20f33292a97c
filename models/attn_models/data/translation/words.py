"""The words of the English-French sentences: tables without rules. `grammar` inflects and joins them.

Of the tables of English and French forms, an empty string means that the regular rule gives the form.
"""

from __future__ import annotations

from typing import NamedTuple


class Noun(NamedTuple):
    english: str
    french: str
    feminine: bool
    kind: str  # person, animal, thing, food, location
    english_plural: str = ""
    french_plural: str = ""


class Job(NamedTuple):
    """A profession: in French it has no article behind 'to be', and a form for women where one is in use."""

    english: str
    french: str
    french_feminine: str
    feminine: bool = False  # the English word is for women alone


class Adjective(NamedTuple):
    english: str
    french: str
    french_feminine: str
    kinds: str  # first letters of the kinds of nouns it goes with
    before: bool = False  # stands before its noun
    before_vowel: str = ""  # masculine singular before a vowel, where it differs
    french_plural: str = ""


class Verb(NamedTuple):
    english: str
    french: str  # infinitive in -er
    kinds: str = ""  # first letters of the kinds of its objects; none: it takes no object
    strong: str = ""  # the stem under stress, where it differs: achèt-
    general: bool = False  # 'I like dogs' means all dogs: French says 'les chiens'


NOUNS = (
    Noun("man", "homme", False, "person", "men"),
    Noun("woman", "femme", True, "person", "women"),
    Noun("boy", "garçon", False, "person"),
    Noun("girl", "fille", True, "person"),
    Noun("child", "enfant", False, "person", "children"),
    Noun("brother", "frère", False, "person"),
    Noun("sister", "sœur", True, "person"),
    Noun("friend", "ami", False, "person"),
    Noun("neighbor", "voisin", False, "person"),
    Noun("son", "fils", False, "person"),
    Noun("king", "roi", False, "person"),
    Noun("queen", "reine", True, "person"),
    Noun("uncle", "oncle", False, "person"),
    Noun("aunt", "tante", True, "person"),
    Noun("hero", "héros", False, "person", "heroes"),
    Noun("dog", "chien", False, "animal"),
    Noun("cat", "chat", False, "animal"),
    Noun("horse", "cheval", False, "animal"),
    Noun("bird", "oiseau", False, "animal"),
    Noun("cow", "vache", True, "animal"),
    Noun("goat", "chèvre", True, "animal"),
    Noun("mouse", "souris", True, "animal", "mice"),
    Noun("owl", "hibou", False, "animal", "", "hiboux"),
    Noun("hedgehog", "hérisson", False, "animal"),
    Noun("donkey", "âne", False, "animal"),
    Noun("swallow", "hirondelle", True, "animal"),
    Noun("turtle", "tortue", True, "animal"),
    Noun("bear", "ours", False, "animal"),
    Noun("car", "voiture", True, "thing"),
    Noun("book", "livre", False, "thing"),
    Noun("newspaper", "journal", False, "thing"),
    Noun("hat", "chapeau", False, "thing"),
    Noun("coat", "manteau", False, "thing"),
    Noun("shirt", "chemise", True, "thing"),
    Noun("dress", "robe", True, "thing"),
    Noun("key", "clé", True, "thing"),
    Noun("table", "table", True, "thing"),
    Noun("chair", "chaise", True, "thing"),
    Noun("lamp", "lampe", True, "thing"),
    Noun("clock", "horloge", True, "thing"),
    Noun("flower", "fleur", True, "thing"),
    Noun("letter", "lettre", True, "thing"),
    Noun("picture", "image", True, "thing"),
    Noun("umbrella", "parapluie", False, "thing"),
    Noun("bag", "sac", False, "thing"),
    Noun("toy", "jouet", False, "thing"),
    Noun("jewel", "bijou", False, "thing", "", "bijoux"),
    Noun("game", "jeu", False, "thing"),
    Noun("boat", "bateau", False, "thing"),
    Noun("axe", "hache", True, "thing"),
    Noun("computer", "ordinateur", False, "thing"),
    Noun("tool", "outil", False, "thing"),
    Noun("plane", "avion", False, "thing"),
    Noun("knife", "couteau", False, "thing", "knives"),
    Noun("apple", "pomme", True, "food"),
    Noun("pear", "poire", True, "food"),
    Noun("egg", "œuf", False, "food"),
    Noun("cake", "gâteau", False, "food"),
    Noun("orange", "orange", True, "food"),
    Noun("lobster", "homard", False, "food"),
    Noun("tomato", "tomate", True, "food", "tomatoes"),
    Noun("strawberry", "fraise", True, "food"),
    Noun("house", "maison", True, "location"),
    Noun("hotel", "hôtel", False, "location"),
    Noun("school", "école", True, "location"),
    Noun("garden", "jardin", False, "location"),
    Noun("city", "ville", True, "location"),
    Noun("village", "village", False, "location"),
    Noun("castle", "château", False, "location"),
    Noun("hospital", "hôpital", False, "location"),
    Noun("church", "église", True, "location"),
    Noun("island", "île", True, "location"),
    Noun("museum", "musée", False, "location"),
    Noun("airport", "aéroport", False, "location"),
    Noun("shop", "magasin", False, "location"),
)

#: What is not counted: 'bread' is 'du pain', and 'no bread' is 'pas de pain'.
SUBSTANCES = (
    Noun("bread", "pain", False, "food"),
    Noun("cheese", "fromage", False, "food"),
    Noun("rice", "riz", False, "food"),
    Noun("honey", "miel", False, "food"),
    Noun("butter", "beurre", False, "food"),
    Noun("chocolate", "chocolat", False, "food"),
    Noun("meat", "viande", True, "food"),
    Noun("soup", "soupe", True, "food"),
    Noun("jam", "confiture", True, "food"),
    Noun("garlic", "ail", False, "food"),
    Noun("water", "eau", True, "thing"),
    Noun("oil", "huile", True, "thing"),
    Noun("money", "argent", False, "thing"),
)

JOBS = (
    Job("student", "étudiant", "étudiante"),
    Job("teacher", "professeur", "professeure"),
    Job("doctor", "médecin", "médecin"),
    Job("nurse", "infirmier", "infirmière"),
    Job("lawyer", "avocat", "avocate"),
    Job("baker", "boulanger", "boulangère"),
    Job("singer", "chanteur", "chanteuse"),
    Job("dancer", "danseur", "danseuse"),
    Job("farmer", "agriculteur", "agricultrice"),
    Job("painter", "peintre", "peintre"),
    Job("musician", "musicien", "musicienne"),
    Job("cook", "cuisinier", "cuisinière"),
    Job("engineer", "ingénieur", "ingénieure"),
    Job("journalist", "journaliste", "journaliste"),
    Job("writer", "écrivain", "écrivaine"),
    Job("worker", "ouvrier", "ouvrière"),
    Job("hairdresser", "coiffeur", "coiffeuse"),
    Job("gardener", "jardinier", "jardinière"),
    Job("pharmacist", "pharmacien", "pharmacienne"),
    Job("dentist", "dentiste", "dentiste"),
    Job("architect", "architecte", "architecte"),
    Job("pilot", "pilote", "pilote"),
    Job("actor", "acteur", "actrice"),
    Job("actress", "acteur", "actrice", feminine=True),
    Job("waiter", "serveur", "serveuse"),
    Job("waitress", "serveur", "serveuse", feminine=True),
)

ADJECTIVES = (
    Adjective("big", "grand", "", "atfl", before=True),
    Adjective("small", "petit", "", "patfl", before=True),
    Adjective("beautiful", "beau", "belle", "patl", before=True, before_vowel="bel"),
    Adjective("new", "nouveau", "nouvelle", "tl", before=True, before_vowel="nouvel"),
    Adjective("old", "vieux", "vieille", "patl", before=True, before_vowel="vieil"),
    Adjective("young", "jeune", "", "pa", before=True),
    Adjective("pretty", "joli", "", "patl", before=True),
    Adjective("good", "bon", "bonne", "patfl", before=True),
    Adjective("bad", "mauvais", "", "patfl", before=True),
    Adjective("red", "rouge", "", "tf"),
    Adjective("blue", "bleu", "", "t"),
    Adjective("green", "vert", "", "tf"),
    Adjective("black", "noir", "", "at"),
    Adjective("white", "blanc", "blanche", "atl"),
    Adjective("yellow", "jaune", "", "t"),
    Adjective("brown", "marron", "marron", "at", french_plural="marron"),
    Adjective("happy", "heureux", "heureuse", "pa"),
    Adjective("tired", "fatigué", "", "pa"),
    Adjective("sad", "triste", "", "pa"),
    Adjective("rich", "riche", "", "p"),
    Adjective("strong", "fort", "", "pa"),
    Adjective("intelligent", "intelligent", "", "pa"),
    Adjective("sick", "malade", "", "pa"),
    Adjective("famous", "célèbre", "", "pl"),
    Adjective("kind", "gentil", "gentille", "pa"),
    Adjective("jealous", "jaloux", "jalouse", "pa"),
    Adjective("curious", "curieux", "curieuse", "pa"),
    Adjective("active", "actif", "active", "pa"),
    Adjective("loyal", "loyal", "", "pa"),
    Adjective("proud", "fier", "fière", "pa"),
    Adjective("quick", "rapide", "", "pat"),
    Adjective("expensive", "cher", "chère", "tfl"),
    Adjective("heavy", "lourd", "", "atf"),
    Adjective("useful", "utile", "", "t"),
    Adjective("round", "rond", "", "tf"),
    Adjective("delicious", "délicieux", "délicieuse", "f"),
    Adjective("sweet", "sucré", "", "f"),
    Adjective("modern", "moderne", "", "tl"),
    Adjective("quiet", "calme", "", "pal"),
    Adjective("blond", "blond", "", "p"),
)

VERBS = (
    Verb("like", "aimer", "patfl", general=True),
    Verb("love", "adorer", "patfl", general=True),
    Verb("hate", "détester", "patfl", general=True),
    Verb("look at", "regarder", "patfl"),
    Verb("look for", "chercher", "patfl"),
    Verb("listen to", "écouter", "pa"),
    Verb("find", "trouver", "patf"),
    Verb("eat", "manger", "f"),
    Verb("buy", "acheter", "atfl", strong="achèt"),
    Verb("prepare", "préparer", "f"),
    Verb("share", "partager", "tf"),
    Verb("carry", "porter", "atf"),
    Verb("draw", "dessiner", "patfl"),
    Verb("wash", "laver", "atf"),
    Verb("clean", "nettoyer", "tl", strong="nettoi"),
    Verb("hide", "cacher", "tf"),
    Verb("break", "casser", "t"),
    Verb("show", "montrer", "tfl"),
    Verb("use", "utiliser", "t"),
    Verb("borrow", "emprunter", "t"),
    Verb("throw", "lancer", "tf"),
    Verb("visit", "visiter", "l"),
    Verb("leave", "quitter", "l"),
    Verb("help", "aider", "pa"),
    Verb("photograph", "photographier", "patl"),
    Verb("sing", "chanter"),
    Verb("dance", "danser"),
    Verb("work", "travailler"),
    Verb("speak", "parler"),
    Verb("walk", "marcher"),
    Verb("travel", "voyager"),
    Verb("swim", "nager"),
    Verb("play", "jouer"),
    Verb("cry", "pleurer"),
    Verb("dream", "rêver"),
    Verb("study", "étudier"),
    Verb("begin", "commencer"),
    Verb("arrive", "arriver"),
    Verb("stay", "rester"),
)

#: English, before the verb or behind 'to be' -> French, behind the verb.
ADVERBS = {"often": "souvent", "always": "toujours", "sometimes": "parfois", "rarely": "rarement"}
PREPOSITIONS = {"in": "dans", "behind": "derrière", "in front of": "devant", "near": "près de"}
NUMBERS = {"two": "deux", "three": "trois", "four": "quatre", "five": "cinq"}
CONNECTORS = {"and": "et", "but": "mais", "because": "parce que"}

#: Words that start with an h before which nothing is elided: le hibou, not l'hibou.
ASPIRATED = ("hibou", "hiboux", "hérisson", "hérissons", "héros", "homard", "homards", "hache", "haches")

#: Stand for every word that the tokenizer does not know, so that the model learns to pass such a word on, as a name or as a
#: masculine noun. They are in no table above; in tokens both sides have the unknown token there.
NAMES = ("paul", "marc", "louis", "victor", "david", "karim", "thomas", "lucas")
STRANGE = (
    Noun("zebra", "zebra", False, "animal", "zebra", "zebra"),
    Noun("drone", "drone", False, "thing", "drone", "drone"),
    Noun("kiwi", "kiwi", False, "food", "kiwi", "kiwi"),
    Noun("bunker", "bunker", False, "location", "bunker", "bunker"),
)
UNKNOWN = (*NAMES, *(noun.english for noun in STRANGE))
