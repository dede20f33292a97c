"""The sentences that the translator learns from: right French, and parts that share nothing."""

import hashlib
import itertools
from collections import Counter
from random import Random

import pytest
from attn_models.data.translation import text
from attn_models.data.translation.forms import (
    IL,
    ILS,
    JE,
    NOUS,
    TU,
    VOUS,
    conjugate,
    contracted,
    determiner,
    inflect,
    job_of,
    join,
    plural_of_english,
    plural_of_noun,
    third_person,
    with_article,
)
from attn_models.data.translation.grammar import Writer, pairs, split, vocabulary
from attn_models.data.translation.words import ADJECTIVES, ASPIRATED, JOBS, NOUNS, SUBSTANCES, UNKNOWN, VERBS

NOUN = {noun.french: noun for noun in (*NOUNS, *SUBSTANCES)}
ADJECTIVE = {adjective.french: adjective for adjective in ADJECTIVES}
VERB = {verb.french: verb for verb in VERBS}


@pytest.fixture(scope="module")
def parts():
    return text.parts()


@pytest.mark.parametrize(
    ("french", "plural"),
    [
        ("chien", "chiens"),
        ("cheval", "chevaux"),
        ("journal", "journaux"),
        ("oiseau", "oiseaux"),
        ("château", "châteaux"),
        ("hôpital", "hôpitaux"),
        ("jeu", "jeux"),
        ("hibou", "hiboux"),
        ("bijou", "bijoux"),
        ("souris", "souris"),
        ("fils", "fils"),
        ("héros", "héros"),
        ("ours", "ours"),
        ("œuf", "œufs"),
        ("clé", "clés"),
        ("école", "écoles"),
    ],
)
def test_plurals_of_nouns(french, plural):
    assert plural_of_noun(NOUN[french]) == plural


@pytest.mark.parametrize(
    ("french", "forms"),
    [  # il, elle, ils, elles
        ("petit", "petit petite petits petites"),
        ("jeune", "jeune jeune jeunes jeunes"),
        ("beau", "beau belle beaux belles"),
        ("nouveau", "nouveau nouvelle nouveaux nouvelles"),
        ("vieux", "vieux vieille vieux vieilles"),
        ("bon", "bon bonne bons bonnes"),
        ("mauvais", "mauvais mauvaise mauvais mauvaises"),
        ("blanc", "blanc blanche blancs blanches"),
        ("bleu", "bleu bleue bleus bleues"),
        ("heureux", "heureux heureuse heureux heureuses"),
        ("jaloux", "jaloux jalouse jaloux jalouses"),
        ("gentil", "gentil gentille gentils gentilles"),
        ("actif", "actif active actifs actives"),
        ("loyal", "loyal loyale loyaux loyales"),
        ("fier", "fier fière fiers fières"),
        ("cher", "cher chère chers chères"),
        ("marron", "marron marron marron marron"),
        ("fatigué", "fatigué fatiguée fatigués fatiguées"),
        ("délicieux", "délicieux délicieuse délicieux délicieuses"),
    ],
)
def test_adjectives_agree(french, forms):
    adjective = ADJECTIVE[french]
    assert [
        inflect(adjective, f, p) for f, p in ((False, False), (True, False), (False, True), (True, True))
    ] == forms.split()


def test_adjectives_before_a_vowel():
    for french, before_vowel in (("beau", "bel"), ("nouveau", "nouvel"), ("vieux", "vieil")):
        adjective = ADJECTIVE[french]
        assert inflect(adjective, False, False, "hôtel") == before_vowel
        assert inflect(adjective, False, False, "hibou") == french  # an aspirated h is no vowel
        assert inflect(adjective, False, False, "chien") == french
        assert inflect(adjective, False, False) == french
        assert inflect(adjective, False, True, "hôtels") != before_vowel
        assert inflect(adjective, True, False, "école") != before_vowel


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("parler", "parle parles parle parlons parlez parlent"),
        ("manger", "mange manges mange mangeons mangez mangent"),
        ("lancer", "lance lances lance lançons lancez lancent"),
        ("acheter", "achète achètes achète achetons achetez achètent"),
        ("nettoyer", "nettoie nettoies nettoie nettoyons nettoyez nettoient"),
        ("étudier", "étudie étudies étudie étudions étudiez étudient"),
        ("préparer", "prépare prépares prépare préparons préparez préparent"),
    ],
)
def test_verbs_in_the_present(verb, forms):
    assert [conjugate(VERB[verb], person) for person in (JE, TU, IL, NOUS, VOUS, ILS)] == forms.split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("je ai un chien", "j'ai un chien"),
        ("je habite", "j'habite"),
        ("je ne ai pas de argent", "je n'ai pas d'argent"),
        ("il ne y a pas de hibou", "il n'y a pas de hibou"),
        ("il y a de la eau", "il y a de l'eau"),
        ("de le pain", "du pain"),
        ("de le ail", "de l'ail"),
        ("près de le hôtel", "près de l'hôtel"),
        ("près de le jardin", "près du jardin"),
        ("près de les maisons", "près des maisons"),
        ("près de une école", "près d'une école"),
        ("le héros", "le héros"),
        ("la hache", "la hache"),
        ("le homard", "le homard"),
        ("la horloge", "l'horloge"),
        ("le œuf", "l'œuf"),
        ("la île", "l'île"),
        ("parce que elle est là", "parce qu'elle est là"),
        ("parce que les chats", "parce que les chats"),
        ("est-ce que il a un âne ?", "est-ce qu'il a un âne ?"),
        ("elle est là .", "elle est là."),
    ],
)
def test_elision_and_contraction(words, said):
    assert join(words.split()) == said


@pytest.mark.parametrize(
    ("english", "feminine", "plural", "following", "french"),
    [
        ("my", True, False, "école", "mon"),
        ("my", True, False, "hache", "ma"),
        ("my", True, False, "maison", "ma"),
        ("his", False, False, "chien", "son"),
        ("her", True, False, "image", "son"),
        ("your", True, True, "clés", "tes"),
        ("our", True, False, "école", "notre"),
        ("their", False, True, "chiens", "leurs"),
        ("this", False, False, "hôtel", "cet"),
        ("this", False, False, "héros", "ce"),
        ("this", True, False, "école", "cette"),
        ("these", False, True, "hôtels", "ces"),
        ("two", False, True, "chiens", "deux"),
        ("", True, True, "pommes", "des"),
        ("the", True, True, "pommes", "les"),
    ],
)
def test_what_stands_before_a_noun(english, feminine, plural, following, french):
    assert determiner(english, feminine, plural, following) == [french]
    assert determiner("your", False, False, "chien", yours=True) == ["votre"]


def test_professions():
    jobs = {job.english: job for job in JOBS}
    assert job_of(jobs["student"], False, False) == "étudiant"
    assert job_of(jobs["student"], True, True) == "étudiantes"
    assert job_of(jobs["singer"], True, False) == "chanteuse"
    assert job_of(jobs["farmer"], True, False) == "agricultrice"
    assert job_of(jobs["doctor"], True, True) == "médecins"
    assert job_of(jobs["actress"], False, False) == "actrice"


def test_english_forms():
    assert [third_person(v) for v in ("watch", "carry", "play", "look at", "wash")] == [
        "watches",
        "carries",
        "plays",
        "looks at",
        "washes",
    ]
    assert [plural_of_english(w) for w in ("dog", "box", "dress", "city", "boy", "church")] == [
        "dogs",
        "boxes",
        "dresses",
        "cities",
        "boys",
        "churches",
    ]
    assert with_article(["a", "old", "dog"]) == ["an", "old", "dog"]
    assert with_article(["a", "useful", "key"]) == ["a", "useful", "key"]
    assert with_article(["a", "dog"]) == ["a", "dog"]


@pytest.mark.parametrize(
    ("plain", "short"),
    [
        ("i am not a cook", "i'm not a cook"),
        ("they are tired", "they're tired"),
        ("he does not have a dog", "he doesn't have a dog"),
        ("the dogs are not big", "the dogs aren't big"),
        ("there is no dog", "there's no dog"),
        ("the girl is sad because she is not rich", "the girl is sad because she isn't rich"),
    ],
)
def test_contractions(plain, short):
    assert " ".join(contracted(plain.split())) == short


#: Translated by hand; the grammar must say the same.
BY_HAND = {
    "you all are actresses": "vous êtes actrices",
    "she is an actress": "elle est actrice",
    "i am a student": "je suis étudiant",
    "they are not actresses": "elles ne sont pas actrices",
    "there is a horse near the village": "il y a un cheval près du village",
    "there is a bear near the schools": "il y a un ours près des écoles",
    "three sisters are not pilots": "trois sœurs ne sont pas pilotes",
    "his boys love four schools": "ses garçons adorent quatre écoles",
    "<unk> dances behind the cities": "<unk> danse derrière les villes",
    "you all have a <unk>": "vous avez un <unk>",
    "do three girls listen to a beautiful jealous uncle ?": "est-ce que trois filles écoutent un bel oncle jaloux ?",
    "<unk> has her old computer": "<unk> a son vieil ordinateur",
    "she sometimes leaves a new white hotel": "elle quitte parfois un nouvel hôtel blanc",
    "you all like your keys": "vous aimez vos clés",
    "these heavy lamps are brown and they are not black": "ces lampes lourdes sont marron et elles ne sont pas noires",
    "there is no clock in front of my city": "il n'y a pas d'horloge devant ma ville",
    "<unk> does not borrow a blue plane": "<unk> n'emprunte pas d'avion bleu",
    "we are curious because we rarely begin": "nous sommes curieux parce que nous commençons rarement",
    "we eat five eggs": "nous mangeons cinq œufs",
    "we do not buy knives": "nous n'achetons pas de couteaux",
    "do my women prepare our apple ?": "est-ce que mes femmes préparent notre pomme ?",
    "does the sad aunt carry a newspaper ?": "est-ce que la tante triste porte un journal ?",
    "the schools are big but they are good": "les écoles sont grandes mais elles sont bonnes",
    "her quick woman does not have garlic": "sa femme rapide n'a pas d'ail",
    "he likes my turtle": "il aime ma tortue",
    "<unk> likes my village": "<unk> aime mon village",
    "this hero has beautiful tired queens": "ce héros a de belles reines fatiguées",
    "you carry our horses": "tu portes nos chevaux",
    "my woman finds our owl": "ma femme trouve notre hibou",
    "this car is very quick because it is useful": "cette voiture est très rapide parce qu'elle est utile",
    "you all rarely work near the hospitals": "vous travaillez rarement près des hôpitaux",
}


def test_sentences_translated_by_hand(parts):
    written = {pair.content[0]: pair.content[1] for part in parts for pair in part}
    assert {english: written.get(english) for english in BY_HAND} == BY_HAND


def test_every_word_that_is_written_has_a_token_and_every_token_is_written(parts):
    known = set(vocabulary())
    trained = Counter(word for pair in parts[0] for side in pair[:2] for word in split(side))
    assert set(trained) - known == set(UNKNOWN)
    assert {word: trained[word] for word in known if trained[word] < 3} == {}
    held_out = {word for part in parts[1:] for pair in part for side in pair[:2] for word in split(side)}
    assert held_out <= set(trained)


def test_the_parts_share_no_sentence_in_whatever_spelling(parts):
    assert [len(part) for part in parts] == [len(set(part)) for part in parts]
    for one, other in itertools.combinations(parts, 2):
        for side in (0, 1):
            assert not {pair.content[side] for pair in one} & {pair.content[side] for pair in other}
            assert not {pair[side] for pair in one} & {pair[side] for pair in other}


def test_a_sentence_has_one_translation_and_occurs_once(parts):
    everything = [pair for part in parts for pair in part]
    assert len({pair.content[0] for pair in everything}) == len(everything)
    assert len(everything) > 15_000
    assert max(len(split(side)) for pair in everything for side in pair[:2]) == text.LONGEST


def test_english_never_leaves_the_translation_open():
    writer, found = Writer(Random(11)), {}
    for _ in range(30_000):
        english, french = writer.pair().content
        assert found.setdefault(english, french) == french, english


def test_the_example_of_the_documentation_is_held_out(parts):
    train, _, test = parts
    assert text.EXAMPLE in [pair[:2] for pair in test]
    assert not [pair for pair in train if pair.content[0] == text.EXAMPLE[0]]


def test_the_sentences_are_the_same_in_every_run(parts):
    assert list(itertools.islice(pairs(5, 12), 40)) == list(itertools.islice(pairs(5, 12), 40))
    assert list(itertools.islice(pairs(5, 12), 40)) != list(itertools.islice(pairs(6, 12), 40))
    # Accuracies before and after a change of the data can't be compared: this must be noticed.
    told = "\n".join("\t".join(pair[:2]) for part in parts for pair in part)
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "48a3f30e060e11d2"


def test_rules_that_hold_for_every_sentence(parts):
    names = {form for noun in NOUNS for form in (noun.french, plural_of_noun(noun))}
    for pair in (pair for part in parts for pair in part):
        words = split(pair.french)
        for word, following in itertools.pairwise(words):
            vowel = following == "y" or (following[0] in "aeiouhâàéèêîôœ" and following not in ASPIRATED)
            if word in ("je", "ne", "de", "le", "la", "que", "ce", "ma", "ta", "sa"):
                assert not vowel, pair
            if word.endswith("'") or word in ("cet", "bel", "nouvel", "vieil"):
                assert vowel, pair
            if word in ("beau", "nouveau") and following in names:
                assert not vowel, pair
            assert (word, following) not in {("de", "le"), ("de", "les"), ("de", "du"), ("de", "des")}, pair
        assert ("pas" in words) == ("ne" in words or "n'" in words), pair
        assert (" no " in f" {pair.english} " or "n't" in pair.english or " not " in pair.english) == (
            "pas" in words
        ), pair
        assert pair.english.endswith("?") == pair.french.endswith(" ?"), pair
        assert pair.english.endswith(".") == pair.french.endswith("."), pair


def test_decoding_gives_the_text_back(parts):
    tokenizer = text.tokenizer()
    sentences = [pair.french for pair in parts[2] if not set(split(pair.french)) & set(UNKNOWN)]
    encoded = tokenizer.encode_batch(sentences)
    assert tokenizer.decode_batch([e.ids for e in encoded]) == sentences
    for pair, one in zip(parts[2], tokenizer.encode_batch([pair.english for pair in parts[2]]), strict=True):
        assert one.tokens == [word if word not in UNKNOWN else "<unk>" for word in split(pair.english)]


@pytest.mark.parametrize(
    ("typed", "tokens"),
    [
        ("I am a Student.", ["i", "am", "a", "student", "."]),
        ("I’m  a\tstudent", ["i'", "m", "a", "student"]),
        ("E\u0301tudiant", ["étudiant"]),
        ("Hello dog!", ["<unk>", "dog", "<unk>"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_what_people_type(typed, tokens):
    assert text.tokenizer().encode(typed).tokens == tokens


def test_an_unknown_word_stays_visible_in_an_answer():
    assert text.tokenizer().decode([text.UNKNOWN, text.END, text.PAD], skip_special_tokens=True) == "<unk>"


def test_encoding_refuses_what_does_not_fit():
    assert text.encode(["i am a student"], 6, end=True).tolist()[0][4:] == [text.END, text.PAD]
    with pytest.raises(ValueError, match="has 4 tokens, more than 3"):
        text.encode(["i am a student"], 3)


def test_a_writer_draws_from_its_random_alone():
    assert Writer(Random(1)).pair() == Writer(Random(1)).pair()
