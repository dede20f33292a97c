"""How French words change: one example of each rule, and of its exceptions."""

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
from attn_models.data.translation.words import ADJECTIVES, JOBS, NOUNS, SUBSTANCES, VERBS


def by_french(words):
    return {word.french: word for word in words}


def test_nouns_and_adjectives_agree():
    nouns, adjectives = by_french((*NOUNS, *SUBSTANCES)), by_french(ADJECTIVES)
    plurals = {"chien": "chiens", "cheval": "chevaux", "oiseau": "oiseaux", "jeu": "jeux", "hibou": "hiboux"}
    plurals |= {"souris": "souris", "œuf": "œufs"}
    assert {word: plural_of_noun(nouns[word]) for word in plurals} == plurals
    for forms in (  # il, elle, ils, elles
        "petit petite petits petites",
        "jeune jeune jeunes jeunes",
        "beau belle beaux belles",
        "blanc blanche blancs blanches",
        "heureux heureuse heureux heureuses",
        "loyal loyale loyaux loyales",
        "cher chère chers chères",
        "marron marron marron marron",
    ):
        adjective = adjectives[forms.split()[0]]
        assert " ".join(inflect(adjective, f, p) for p in (False, True) for f in (False, True)) == forms
    old = adjectives["vieux"]
    before = [inflect(old, False, False, noun) for noun in ("hôtel", "hibou", "chien", "")]
    assert before == ["vieil", "vieux", "vieux", "vieux"], "an aspirated h is no vowel"
    assert inflect(old, False, True, "hôtels") == "vieux" and inflect(old, True, False, "école") == "vieille"


def test_verbs_keep_their_sound_in_every_person():
    verbs = by_french(VERBS)
    for verb, forms in {
        "parler": "parle parles parle parlons parlez parlent",
        "manger": "mange manges mange mangeons mangez mangent",
        "lancer": "lance lances lance lançons lancez lancent",
        "acheter": "achète achètes achète achetons achetez achètent",
    }.items():
        assert " ".join(conjugate(verbs[verb], person) for person in (JE, TU, IL, NOUS, VOUS, ILS)) == forms


def test_elision_and_contraction():
    for words, text in {
        "je ne ai pas de argent": "je n'ai pas d'argent",
        "il ne y a pas de hibou": "il n'y a pas de hibou",
        "il y a de la eau": "il y a de l'eau",
        "de le pain": "du pain",
        "de le ail": "de l'ail",
        "près de les maisons": "près des maisons",
        "la hache": "la hache",
        "la horloge": "l'horloge",
        "parce que elle est là .": "parce qu'elle est là.",
    }.items():
        assert join(words.split()) == text


def test_what_stands_before_a_noun():
    for (english, feminine, plural, following), french in {
        ("my", True, False, "école"): "mon",
        ("my", True, False, "hache"): "ma",
        ("your", True, True, "clés"): "tes",
        ("their", False, True, "chiens"): "leurs",
        ("this", False, False, "hôtel"): "cet",
        ("this", False, False, "héros"): "ce",
        ("two", False, True, "chiens"): "deux",
        ("", True, True, "pommes"): "des",
        ("the", True, True, "pommes"): "les",
    }.items():
        assert determiner(english, feminine, plural, following) == [french]
    assert determiner("your", False, False, "chien", yours=True) == ["votre"]
    jobs = {job.english: job for job in JOBS}
    assert [job_of(jobs["student"], f, f) for f in (False, True)] == ["étudiant", "étudiantes"]
    assert job_of(jobs["actress"], False, False) == "actrice"


def test_english_forms():
    assert [third_person(v) for v in ("watch", "carry", "play", "look at")] == [
        "watches",
        "carries",
        "plays",
        "looks at",
    ]
    assert [plural_of_english(w) for w in ("dog", "dress", "city", "boy")] == ["dogs", "dresses", "cities", "boys"]
    assert [with_article(["a", w])[0] for w in ("old", "useful", "dog")] == ["an", "a", "a"]
    assert contracted(["they", "are", "tired"]) == ["they're", "tired"]
    assert contracted(["he", "does", "not", "have", "a", "dog"]) == ["he", "doesn't", "have", "a", "dog"]
