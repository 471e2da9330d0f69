"""Mixed text for the tokenizer's goldens, the same on every run: many scripts and their digits, emoji, white space,
code, special tokens inside text, combining marks, control characters."""
import sys
import unicodedata

PHRASES = """The quick brown fox jumps over the lazy dog, doesn't it?
She'll say we've won; they'd say I'm WRONG — it's HE'S, WE'LL, Y'ALL'D'VE.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.
Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis.
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia; ¿añoraba? ¡sí!
Pchnąć w tę łódź jeża lub ośm skrzyń fig.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ılık
Съешь же ещё этих мягких французских булок, да выпей чаю.
Жебракують філософи при ґанку церкви в Гадячі.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Τι κάνεις;
נו עכשיו מה קורה פה, הכל בסדר? שָׁלוֹם
صباح الخير، كيف حالك اليوم؟ السَّلامُ عَلَيْكُم
امروز هوا خیلی خوب است، می‌رویم بیرون
آج موسم بہت اچھا ہے۔
आज मौसम बहुत अच्छा है। क्या आप ठीक हैं?
আজ আবহাওয়া খুব ভালো।
இன்று வானிலை நன்றாக உள்ளது.
ఈ రోజు వాతావరణం బాగుంది.
ಇಂದು ಹವಾಮಾನ ಚೆನ್ನಾಗಿದೆ.
ഇന്ന് കാലാവസ്ഥ നല്ലതാണ്.
આજે હવામાન સારું છે.
ਅੱਜ ਮੌਸਮ ਚੰਗਾ ਹੈ।
අද කාලගුණය හොඳයි.
วันนี้อากาศดีมาก ไปเดินเล่นกันไหม
ມື້ນີ້ອາກາດດີ
ថ្ងៃនេះអាកាសធាតុល្អ
ဒီနေ့ ရာသီဥတု ကောင်းတယ်။
དེ་རིང་གནམ་གཤིས་ཡག་པོ་འདུག
今天天气很好，我们去散步吧。你觉得怎么样？
今日はとても天気がいいですね。カタカナとひらがな、漢字。ｶﾀｶﾅ
오늘 날씨가 참 좋네요. 산책 갈까요?
დღეს კარგი ამინდია.
Այսօր լավ եղանակ է։
ዛሬ አየሩ ጥሩ ነው።
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ᠌
ᚠᚢᚦᚨᚱᚲ ᚷᚹ
Hôm nay trời đẹp quá, đi dạo không?
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒎𝒂𝒕𝒉 𝟘𝟙𝟚 𝚌𝚘𝚍𝚎 ﬁ ﬂ ﬀ Ａｂｃ１２３
𐌰𐌱𐌲 𓀀𓁐 𒀀𒁀 𐎠𐎡 𞤀𞤁 𠀀𠀁𪜀
def f(x: int) -> int:\\n    return x ** 2  # squares\\n
for (int i = 0; i < n; ++i) {\\n\\tsum += a[i] * b[i];\\n}
#include <vector>\\nstd::vector<std::pair<int, float>> v{{1, 2.5f}};
SELECT name, COUNT(*) FROM t WHERE x >= 10 AND y LIKE '%z_' GROUP BY 1;
if [ "$1" = "--help" ]; then echo "usage: $0 [-n N]" >&2; exit 2; fi
{"key": [1, 2.5e-3, null, true], "nested": {"a\\\\b": "\\u00e9"}}
<div class="a b" id='c'>&nbsp;&amp;</div><!-- ... -->
fn main() { let s: &'static str = "it's"; println!("{:?}", s); }
https://example.org/a/b?c=d&e=%20f#g user.name+tag@mail.example
3.14159 1,000,000.00 0x1F 1e-10 2024-06-11T12:34:56Z 007 +49(0)30/123-45
½ ² ³ ¹ Ⅷ ⅻ ① ⑳ ㊿ 三十二 〇 ৴ ௰ ፲ 𐄇
¿¡«»„“”‘’–—…‰€£¥₹₿™®©°±×÷≠≤≥∞∑∫√∂∇ℝ→⇒↔
C:\\\\Users\\\\x\\\\file.txt ~/.bashrc ../../a_b-c.d __init__ snake_case camelCase SCREAMING_CASE
I'm 'quoted' and ''doubly'' 'SO' 'll 's'S 'ſ 'K don’t rock’n’roll
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa zzzzzzzzzzzzzzzzzzz hahahahahahahahaha
!!!???...;;;:::,,, ***** ----- ===== ##### ~~~~ ``` ||| <<<>>> (((())))""".split("\n")

SPECIAL = """<|endoftext|> <|im_start|> <|im_end|> <repo_name> <reponame> <file_sep> <filename> <gh_stars> <issue_start>
<issue_comment> <issue_closed> <jupyter_start> <jupyter_text> <jupyter_code> <jupyter_output> <jupyter_script>
<empty_output>""".split()
BROKEN = ["<|im_start", "<|im_end|", "im_end|>", "<|im_end|>>", "<<|im_end|>", "<|IM_END|>", "<|im_<|im_end|>end|>", "<|", "|>",
          "<repo_name", "<repo", "<file_sep><filename>", "< |im_end|>", "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n",
          "<|end|>", "<|user|>", "<|user|>!", "<|us"]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇫🇷🇯🇵", "1️⃣", "#️⃣", "❤️", "❤", "🧑🏿‍🚀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👨‍❤️‍💋‍👨", "🤷‍♀️", "☕", "✨", "🦩", "🫠", "🐻‍❄️", "©️", "🀄", "⌚"]
SPACES = [" ", "  ", "   ", "    ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", " \n", "\n ", "\t \n", "        ", "\u00a0",
          "\u1680", "\u2000", "\u2003", "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u0085", "\u180e",
          "\u200b", "\ufeff", "\u2060", "\x0b", "\x0c", "\x1c", "\x1d", "\x1f"]
MARKS = ["\u0301", "\u0308", "\u0323", "\u20dd", "\u0489", "\u093f", "\u0e31", "\u3099", "\u200d", "\u200c", "\ufe0f", "\u0338"]


def unescape(text):
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")


def assigned():
    """Every assigned character that is no surrogate and not for private use."""
    return [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def cut(random, text, longest):
    start = random.randrange(max(1, len(text) - longest))
    return text[start:start + random.randint(1, longest)]


def mixed(random, pieces, count):
    return "".join(random.choice(random.choice(pieces)) for _ in range(count))


def make_lines(random):
    phrases = [unescape(p) for p in PHRASES]
    characters = assigned()
    digits = [c for c in characters if unicodedata.category(c) == "Nd"]
    numbers = [c for c in characters if unicodedata.category(c) in ("Nl", "No")]
    letters = [c for c in characters if unicodedata.category(c)[0] == "L"]
    words = [w for p in phrases for w in p.split()]
    lines = ["", " ", "\n", "a", "0", *phrases, *SPECIAL, *BROKEN, *EMOJI, *SPACES, *MARKS]
    lines += [s + "x" for s in SPACES] + ["x" + s for s in SPACES] + ["x" + s + "y" + s + s + "1" for s in SPACES]
    lines += [chr(c) + "a" + chr(c) for c in (*range(0x20), *range(0x7F, 0xA1), 0xAD, 0x40000, 0xBFFFF, 0x10FFFF, 0xE000, 0xFFFF)]
    # All decimal digits, script by script, alone and inside words.
    for i in range(0, len(digits), 10):
        lines.append("".join(digits[i:i + 10]) + " x" + digits[i] + "y" + digits[i + 3] + digits[i + 7] + ".")
    lines += ["".join(numbers[i:i + 25]) for i in range(0, len(numbers), 25)]
    while len(lines) < 2300:
        kind = random.randrange(10)
        if kind == 0:
            line = mixed(random, [words, SPACES], random.randint(2, 12))
        elif kind == 1:
            line = mixed(random, [words, SPECIAL, BROKEN, [" ", "\n"]], random.randint(2, 8))
        elif kind == 2:
            line = mixed(random, [EMOJI, words, [" "], MARKS], random.randint(2, 8))
        elif kind == 3:
            line = mixed(random, [letters, MARKS, ["a", "e", "o", " "]], random.randint(4, 24))
        elif kind == 4:
            line = mixed(random, [digits, numbers, ["1", "23", " ", "a", ".", ","]], random.randint(3, 20))
        elif kind == 5:
            line = mixed(random, [characters], random.randint(4, 24))
        elif kind == 6:
            line = unicodedata.normalize(random.choice(["NFC", "NFD", "NFKC", "NFKD"]), cut(random, random.choice(phrases), 60))
        elif kind == 7:
            line = cut(random, random.choice(phrases), 50) + random.choice(SPACES) + cut(random, random.choice(phrases), 50)
        elif kind == 8:
            line = mixed(random, [["'s", "'T", "'re", "'LL", "'d", "'", "’s", "'ve"], words, [" ", "\n", "  "]], random.randint(2, 8))
        else:
            line = mixed(random, [SPACES], random.randint(2, 10)) + random.choice(words) + mixed(random, [SPACES], 3)
        lines.append(line)
    return lines
