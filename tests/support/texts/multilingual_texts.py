"""Texts that tokenizers are held to one another on: 24 languages, emoji, controls, spaces of all kinds, code, drawn Unicode."""

from __future__ import annotations

import random
import unicodedata

SENTENCES = {
    "arabic": ["مرحبًا بالعالم، كيف حالك اليوم؟", "اشتريتُ ٣ كتبٍ بـ ١٢٫٥٠ دينار.", "قالَ: «لا بأسَ» ثم مضى ـــ"],
    "bengali": ["আমি বাংলায় গান গাই।", "তাঁর বয়স ৩৫ বছর, তাই না?", "ক্ষুদ্র ঋণ — শ্রী রাম"],
    "burmese": ["မင်္ဂလာပါ ကမ္ဘာလောက", "ဈေးနှုန်း ၁၂၃ ကျပ် ဖြစ်သည်။", "ကျွန်တော် စာအုပ်ဖတ်နေတယ်"],
    "chinese": ["今天天气很好，我们去公园吧！", "他花了1,299元买手机（5G版）。", "㐀𠀀𠮷野家的牛肉飯"],
    "czech": ["Příliš žluťoučký kůň úpěl ďábelské ódy.", "Stojí to 1 250,50 Kč, že?", "NEJNEOBHOSPODAŘOVÁVATELNĚJŠÍ"],
    "english": [
        "I'll say it's John's; they've gone, we're here, I'd stay & you can't.",
        "In 2024, 12345678 people paid $3.50 (approx.)...",
        "THE QUICK brown-fox JUMPS; don't 'quote' DON'T, i'm I'M naïve",
    ],
    "finnish": ["Äiti lähti yöllä töihin.", "Hääyöaie on 100 % suomea.", "juoksentelisinkohan Åbossa?"],
    "french": ["L'été dernier, qu'est-ce qu'il a mangé ?", "« Cœur » coûte 12,99 €, n'est-ce pas ?", "ÇA ALORS, où ça ? Noël…"],
    "georgian": ["გამარჯობა მსოფლიო!", "ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ არის 69 700 კმ²", "მე მიყვარს წიგნები."],
    "german": ["Straße, Füße und GROẞE Mäuse: „Übermut“!", "Am 3.10. kamen 1.234,56 € an.", "Donaudampfschifffahrtsgesellschaft"],
    "greek": ["Οδυσσεύς, ο πολύτροπος ΑΝΗΡ.", "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία", "Τι ώρα είναι; Είναι 8:30 μ.μ."],
    "hebrew": ["שָׁלוֹם עוֹלָם, מה שלומך?", 'צה"ל קנה 15 ג\'יפים', "בְּרֵאשִׁית בָּרָא אֱלֹהִים"],
    "hindi": ["नमस्ते दुनिया, क्या हाल है?", "मैंने १०० रुपये दिए।", "क्षत्रिय, ज्ञान और श्री — हिन्दी"],
    "hungarian": ["Árvíztűrő tükörfúrógép.", "Az ár 9 990 Ft, ugye?", "legeslegmegszentségteleníthetetlenebb"],
    "japanese": ["吾輩は猫である。名前はまだ無い。", "ｶﾞｷﾞとガギ、ﾊﾟﾋﾟとパピ！", "価格は３，５００円（税込）です〜"],
    "korean": ["안녕하세요 세계! 잘 지내셨어요?", "가격은 12,000원입니다.", "한글 조합: 한 각 값 뷁"],
    "khmer": ["សួស្តីពិភពលោក", "តម្លៃ ១២៣ រៀល។", "ខ្ញុំស្រឡាញ់សៀវភៅ"],
    "polish": ["Zażółć gęślą jaźń.", "Kosztuje 49,99 zł — drogo!", "Chrząszcz brzmi w trzcinie"],
    "russian": ["Съешь же ещё этих мягких французских булок!", "Это стоит 1 500 рублей (№ 7).", "ЁЖИК и й ё: ВСЁ ЯСНО?"],
    "swahili": ["Habari ya dunia, hujambo?", "Ng'ombe 25 wako shambani.", "Ninakupenda sana, asante!"],
    "tamil": ["வணக்கம் உலகம்!", "விலை ௧௨௩ ரூபாய்.", "ஸ்ரீ க்ஷ கொடு"],
    "thai": ["สวัสดีชาวโลก สบายดีไหม", "ราคา ๑,๒๓๔ บาท ครับ", "น้ำท่วมกรุงเทพฯ"],
    "turkish": ["İstanbul'da ılık bir gün: Iğdır ve ısı.", "Fiyatı 75,25 TL.", "ÇEKOSLOVAKYALILAŞTIRAMADIKLARIMIZDANMIŞSINIZ"],
    "vietnamese": ["Tiếng Việt có nhiều dấu: ỡ, ệ, ậ, ằ.", "Giá là 250.000₫ thôi!", "NGUYỄN Văn Đường"],
}  # fmt: skip

ODD = [
    "",
    " ",
    "  ",
    "\n",
    "\t",
    "a",
    "\u2581",
    "\u0120",
    " \u2581a\u2581 b",
    "def f(x):\n    return x**2  # \u00e9\n\n\n",
    "for (int i=0;i<10;++i){\tx[i] = y->z; }\r\n\r\n",
    "https://a.b/c?d=e&f=%20#g",
    "mail@example.org \u2014 +49 (0)30 1234-567",
    "<s>[INST] hi [/INST]</s><|endoftext|>",
    '{"key": [1, 2.5e-3, null]}',
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "\U0001f44d\U0001f3fd\U0001f44b\U0001f3ff!",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1ef",
    "\u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3 \u263a\ufe0e",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\U0001f9d1\U0001f3fb\u200d\U0001f4bb\U0001fae0",
    "e\u0301\u0323 o\u0302\u0301 A\u030a\u0327 q\u0307\u0323",
    "\ufb01nd \ufb03 \u2168 \u00bd \u2460 \u33a5 \u3300 \uff21\uff22 \ufdfa",
    "\u212b \u2126 \u1e9b\u0323 \u0344 \u0958",
    "\u1100\u1161\u11a8\u1112\u1175 \uac00\u11a8",
    "\u0130\u0131\u017f\u1e9e\u00df\u03a3\u03c2 \u01c5\u1d2c",
    "\x00\x01\x7f\x85\x9f",
    "a\x00b\x1cc\x1dd\x1ee\x1ff",
    "\u200b\u200c\u200d\u2060\ufeff",
    "\u202eabc\u202c \u2066x\u2069",
    "\u00ad\u034f\u061c\u115f\u17b4\u180e",
    "\ufffd\ufffe\uffff\U0010ffff",
    "\ue000\U000f0000\ufdd0",
    "\ud7ff\u0378\u0379 \U0001fbff",
    "a\u00a0b\u2003c\u3000d\u202fe\u205ff\u1680g\u2028h\u2029i",
    " a  b   c    d ",
    "\n\n a\n \n  b\t\t\r\nc\r\r",
    "x \u00a0 y",
    "   \u3000   ",
    "'s 'S 't 're 'VE 'm 'll 'D \u2019s \u2019ll 's's",
    "can'tcan'T it''s '' ' 'x",
    "1 12 123 1234 12345 123456 1,234.5 \u0663\u0664\u0665 \u00b2\u00b3\u00b9 \u2167",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...---___",
    "a.b,c;d:e!f?g",
    "$10 +5 <3 ^_^ `x` ~y |z =w",
    "\u00a9\u00ae\u2122 \u20ac\u00a3\u00a5 \u00a7\u00b6 \u2260\u221e",
    "camelCaseWord HTTPServer XMLHttpRequest iPhone15Pro",
    "\u01c4\u01c5\u01c6 \u01f1\u01f2\u01f3 \u1f88\u1f80",
    "\u0915\u094d\u0937 \u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937",
]

SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2003\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
)
MARKS = (
    "\u0301\u0300\u0302\u0308\u0316\u0323\u0327\u0345"
    "\u05b0\u064e\u093c\u094d\u0e38\u0f71\u20e3\u3099\u309a\ufe0f\u200d\U0001f3fd\U00011133\U0001d165"
)
BETWEEN = ["'s", "'LL", " ", "12", ".", "e\u0301", "ab", "Cd", "\u2581", "\n", "\U0001f44d\U0001f3fd", "\uac01"]
#: Where characters are drawn from, the last of them everything there is.
RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0x00, 0xFF), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x6FF),
    (0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x13FF), (0x1400, 0x1AFF), (0x1C80, 0x1FFF), (0x2000, 0x2BFF),
    (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x3400, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF),
    (0xF900, 0xFFFF), (0x10000, 0x11FFF), (0x1D000, 0x1EFFF), (0x1F000, 0x1FBFF), (0x20000, 0x323AF),
    (0xE0000, 0xE01EF), (0x0, 0x10FFFF),
]  # fmt: skip


def multilingual_texts(drawn: int = 1000) -> list[str]:
    """The same at every call, 1,400 of them and more; `drawn` are made of drawn characters."""
    draw = random.Random(20)
    plain = [text for sentences in SENTENCES.values() for text in sentences]
    found = [*plain, *ODD]
    for change in (str.upper, str.title):
        found += [change(text) for text in plain]
    found += [unicodedata.normalize(form, text) for form in ("NFD", "NFKC") for text in plain]
    found += [f"{draw.choice(SPACES)}{text}{draw.choice(SPACES)}{draw.choice(SPACES)}" for text in plain]
    for _ in range(150):
        words = [word for text in draw.sample([*plain, *ODD], 3) for word in text.split(" ")]
        draw.shuffle(words)
        found.append("".join(word + "".join(draw.choices(SPACES + "      ", k=draw.randrange(3))) for word in words))
    found += [_drawn(draw) for _ in range(drawn)]
    return list(dict.fromkeys(found))


def _drawn(draw: random.Random) -> str:
    kind = draw.randrange(4)
    ranges = draw.sample(RANGES, 1 if kind == 0 else 3)
    made = []
    for _ in range(draw.randrange(1, 40)):
        first, last = draw.choice(ranges)
        point = draw.randrange(first, last + 1)
        made.append("a" if 0xD800 <= point < 0xE000 else chr(point))
        if kind == 1 and draw.random() < 0.4:
            made += draw.choices(MARKS, k=draw.randrange(1, 4))
        if kind == 2 and draw.random() < 0.4:
            made += draw.choices(SPACES, k=draw.randrange(1, 4))
        if kind == 3 and draw.random() < 0.5:
            made.append(draw.choice(BETWEEN))
    return "".join(made)
