"""Writes models/text/unicode_ranges.cpp: what Hugging Face's tokenizers take for punctuation, marks and control characters.

Its crates hold tables of several Unicode versions (8 to 13), so the sets are asked for, character by character.
Run: python tests/golden/make_unicode_ranges.py     (tokenizers 0.23.3, Python 3.11: Unicode 14; then clang-format -i)
"""
import os
import unicodedata

from tokenizers import normalizers, pre_tokenizers

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "text", "unicode_ranges.cpp")
CHARACTERS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def bert(**on):
    return normalizers.BertNormalizer(**{"clean_text": False, "handle_chinese_chars": False, "strip_accents": False,
                                         "lowercase": False, **on})


def removed(normalizer):
    return [c for c in CHARACTERS if normalizer.normalize_str("a" + chr(c) + "a") == "aa"]


def kept_whole(normalizer, form):
    """What Unicode 14 decomposes and the crate does not."""
    return [c for c in CHARACTERS if normalizer.normalize_str(chr(c)) == chr(c) != unicodedata.normalize(form, chr(c))]


def ranges(characters):
    found = []
    for c in characters:
        if found and found[-1][1] == c - 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    return found


def main():
    split = pre_tokenizers.Punctuation()
    sets = {
        "kPunctuation": ("Punctuation and BertPreTokenizer",
                         [c for c in CHARACTERS if len(split.pre_tokenize_str("a" + chr(c) + "a")) > 1]),
        "kCombiningMarks": ("StripAccents", removed(normalizers.StripAccents())),
        "kNonspacingMarks": ("BertNormalizer's strip_accents", removed(bert(strip_accents=True))),
        "kControls": ("BertNormalizer's clean_text", removed(bert(clean_text=True))),
        "kCanonicallyWhole": ("not decomposed by NFC and NFD", kept_whole(normalizers.NFD(), "NFD")),
        "kCompatiblyWhole": ("not decomposed by NFKC and NFKD", kept_whole(normalizers.NFKD(), "NFKD")),
    }
    with open(OUT, "w") as f:
        f.write("// Made by tests/golden/make_unicode_ranges.py.\n#include \"models/text/unicode_ranges.h\"\n\n"
                "#include <algorithm>\n#include <iterator>\n\nnamespace leash {\nnamespace {\n\n"
                "struct CharRange {\n  char32_t first, last;\n};\n\n")
        for name, (what, characters) in sets.items():
            body = ", ".join(f"{{{a:#x}, {b:#x}}}" for a, b in ranges(characters))
            f.write(f"// {what}.\nconstexpr CharRange {name}[] = {{{body}}};\n\n")
        f.write("template <size_t n>\nbool holds(const CharRange (&ranges)[n], char32_t c) {\n"
                "  const CharRange* after = std::ranges::upper_bound(ranges, c, {}, &CharRange::first);\n"
                "  return after != ranges && c <= std::prev(after)->last;\n}\n\n}  // namespace\n\n")
        for function, name in (("is_punctuation", "kPunctuation"), ("is_combining_mark", "kCombiningMarks"),
                               ("is_nonspacing_mark", "kNonspacingMarks"), ("is_control", "kControls"),
                               ("is_canonically_whole", "kCanonicallyWhole"), ("is_compatibly_whole", "kCompatiblyWhole")):
            f.write(f"bool {function}(char32_t c) {{ return holds({name}, c); }}\n")
        f.write("\n}  // namespace leash\n")


main()
