"""Texts of ours in many languages and manners, on which two tokenizers that are said to be one are held against each other."""

from __future__ import annotations

LANGUAGES = {
    "ar": "اشترت البنت خبزا طازجا من السوق في الصباح.",
    "bn": "নদীর ধারে ছেলেটি ঘুড়ি ওড়ায়।",
    "cs": "Žluťoučký kůň pil vodu z řeky.",
    "de": "Die Möwe fraß heute früh drei süße Brötchen.",
    "el": "Η θάλασσα ήταν ήσυχη χθες το βράδυ.",
    "en": "The quick brown fox didn't see 27 lazy dogs, but it heard them.",
    "es": "¿Quién dejó la niña mañana en el jardín?",
    "fa": "پرنده کوچک روی دیوار نشست.",
    "fi": "Yöllä satoi lunta, ja aamulla tie oli jäässä.",
    "fr": "Où est l'été ? Noël arrive déjà, garçon !",
    "he": "החתול ישן על הכיסא ליד החלון.",
    "hi": "बच्चे आम के पेड़ के नीचे खेल रहे हैं।",
    "hu": "Az őzike átfutott a hídon, és eltűnt az erdőben.",
    "id": "Ibu membeli ikan segar di pasar pagi.",
    "it": "La città è più bella quando piove.",
    "ja": "今朝は駅まで歩いて、コーヒーを飲みました。",
    "ko": "오늘은 비가 와서 집에서 책을 읽었다.",
    "nl": "De schaatser viel, maar stond meteen weer op.",
    "pl": "Żółw powoli zjadł świeżą sałatę.",
    "pt": "A avó fez pão e café às três da manhã.",
    "ru": "Вчера мы ели свежие блины с мёдом.",
    "sw": "Mtoto anasoma kitabu chini ya mti.",
    "ta": "மழை பெய்ததால் குழந்தைகள் வீட்டில் இருந்தனர்.",
    "th": "แมวนอนอยู่บนเก้าอี้ข้างหน้าต่าง",
    "tr": "Işık söndü, kedi ağaçtan indi.",
    "uk": "Їжак знайшов яблуко під дубом.",
    "vi": "Trời mưa nên chúng tôi ở nhà uống trà.",
    "zh": "他昨天在湖边看见了两只白色的鸟。",
}

MANNERS = (
    "a",
    "  two  spaces,\ta tab and  an end ",
    "one line\nand another\n\n",
    "ALL CAPITALS, camelCase and snake_case_2",
    "3.14159 + 2,718 = 5.86 (roughly), 100% of $1,299.00",
    "def f(x):\n    return {'a': x ** 2}  # squares",
    "https://example.org/a?b=c#d and someone@example.org",
    "It's, we've, I'll, they'd, “quoted” — and … so on",
    "emoji 🙂 👩‍👩‍👧 🇫🇷 and ﬁ ligatures, ½, ①, ｆｕｌｌ width",
    "e\u0301 and \u00e9 are one letter; \u212b and \u00c5 too",
    "\ufeffa mark\u200b, a soft\u00adhyphen, a\u00a0space",
    "CC(=O)Oc1ccccc1C(=O)O",
    "EVQLVESGGGLVQPGGSLRL",
)

TEXTS = (*LANGUAGES.values(), *MANNERS)
PAIRS = (("a small question", "a text that answers it"), (LANGUAGES["de"], LANGUAGES["ja"]))
