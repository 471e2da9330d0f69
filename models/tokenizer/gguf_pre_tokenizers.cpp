// Each row: a name, its expressions (each splits what the one before left), and what else is known.
#include "models/tokenizer/gguf_pre_tokenizers.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "models/errors.h"

namespace leash {
namespace {

#define LEASH_TAIL R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define LEASH_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
#define LEASH_SYMBOLS R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define LEASH_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LEASH_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
// A word of capital and small letters, with `end` behind it.
#define LEASH_CASED(end)                                                                           \
  R"([^\r\n\p{L}\p{N}]?)" LEASH_UPPER "*" LEASH_LOWER "+" end R"(|[^\r\n\p{L}\p{N}]?)" LEASH_UPPER \
  "+" LEASH_LOWER "*" end
#define LEASH_CASED_SYMBOLS R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
#define LEASH_PUNCTUATED_WORDS                                                              \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)" \
  R"(| ?[\p{P}\p{S}]+)"

constexpr const char* kGpt2Words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Llama 3's (digits in threes) and Qwen 2's (digits alone), as in their tokenizer.json.
constexpr const char* kLlama3Words =
    LEASH_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" LEASH_SYMBOLS LEASH_TAIL;
constexpr const char* kQwen2Words =
    LEASH_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" LEASH_SYMBOLS LEASH_TAIL;
constexpr const char* kJais2Words = LEASH_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" LEASH_SYMBOLS
    R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S))"
    R"(|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})";
constexpr const char* kQwen35Words = LEASH_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" LEASH_TAIL;
constexpr const char* kUfakzekaWords = R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" LEASH_SYMBOLS LEASH_TAIL;
constexpr const char* kSeedCoderWords =
    LEASH_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" LEASH_TAIL;
constexpr const char* kMiniCpm5Words =
    LEASH_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)" LEASH_SYMBOLS LEASH_TAIL;
constexpr const char* kExaoneMoeWords = LEASH_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?)"
    R"(|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kBailingWords =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*)"
    R"(|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kTekkenWords = LEASH_CASED("") R"(|\p{N})" LEASH_CASED_SYMBOLS LEASH_TAIL;
constexpr const char* kGpt4oWords =
    LEASH_CASED(LEASH_CONTRACTIONS "?") R"(|\p{N}{1,3})" LEASH_CASED_SYMBOLS LEASH_TAIL;
constexpr const char* kYoutuWords =
    LEASH_CASED(LEASH_CONTRACTIONS "?") R"(|\p{N})" LEASH_CASED_SYMBOLS LEASH_TAIL;
constexpr const char* kYoutuScripts =
    R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018})"
    R"(\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105})"
    R"(-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
// Han letters by themselves; the others as GPT-4o has them.
#define LEASH_NOT_HAN(set) R"((?:(?!\p{Han}))" set ")"
constexpr const char* kKimiWords =
    R"(\p{Han}+|[^\r\n\p{L}\p{N}]?)" LEASH_NOT_HAN(LEASH_UPPER) "*" LEASH_NOT_HAN(
        LEASH_LOWER) "+" LEASH_CONTRACTIONS
                     R"(?|[^\r\n\p{L}\p{N}]?)" LEASH_NOT_HAN(LEASH_UPPER) "+" LEASH_NOT_HAN(
                         LEASH_LOWER) "*" LEASH_CONTRACTIONS
                                      R"(?|\p{N}{1,3})" LEASH_SYMBOLS LEASH_TAIL;
constexpr const char* kDeepseekCjk = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr const char* kDeepseekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-)"
    R"(\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-)"
    R"(\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-)"
    R"(\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-)"
    R"(\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-)"
    R"(\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-)"
    R"(\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126})"
    R"(\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149})"
    R"(\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2})"
    R"(\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-)"
    R"(\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-)"
    R"(\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2})"
    R"(\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+)";
constexpr const char* kDeepseekSymbols =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";
constexpr const char* kKanaAndHan = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr const char* kDeepseekV3Words = LEASH_PUNCTUATED_WORDS R"([\r\n]*)" LEASH_TAIL;
constexpr const char* kSparkWords = LEASH_PUNCTUATED_WORDS R"(|[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kBloomWords =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
constexpr const char* kAfmoeScripts =
    R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF})"
    R"(\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF})"
    R"(\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}])"
    R"(+)";
// From the right, in threes.
constexpr const char* kThreesFromTheRight = R"(\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N})))";
constexpr const char* kAyaDigits = R"(\d{1,3}(?=(?:\d{3})*\b))";
constexpr const char* kDigit = R"(\p{N})";
constexpr const char* kDigits = R"(\p{N}+)";
constexpr const char* kThreeDigits = R"(\p{N}{1,3})";
constexpr const char* kThreeAsciiDigits = "[0-9][0-9][0-9]";
constexpr const char* kLines = R"([^\n]+|[\n]+)";

enum PreTokenizerFacts : unsigned {
  kNoFacts = 0,
  kMergesIgnored = 1,
  kBosAdded = 2,
  kComposed = 4,
  kSpelledAsText = 8,
  kSpacesEscaped = 16
};

struct PreTokenizerRow {
  const char* names;  // with a space between
  std::vector<const char*> expressions;
  unsigned facts = kNoFacts;
};

const std::vector<PreTokenizerRow>& pre_tokenizer_rows() {
  static const std::vector<PreTokenizerRow> all = {
      // llama.cpp's for files that name none: punctuation and a few symbols, GPT-2, digits.
      {"default", {R"([\p{P}$+<=>^~|]+)", kGpt2Words, kDigits, kThreeAsciiDigits}},
      {"gpt-2 gpt2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert "
       "jina-v1-en jina-v2-code roberta-bpe exaone4 mpt olmo jais trillion granite-docling",
       {kGpt2Words}},
      {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
       {kDigit, kGpt2Words}},
      {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
       {kLlama3Words},
       kMergesIgnored | kBosAdded},
      {"dbrx smaug-bpe chatglm-bpe", {kLlama3Words}},
      {"glm4 glm5", {kLlama3Words}, kMergesIgnored},
      {"jais-2", {kJais2Words}},
      {"qwen2 deepseek-r1-qwen", {kQwen2Words}, kComposed},
      {"qwen35", {kQwen35Words}, kComposed},
      {"stablelm2 hunyuan solar-open kormo f2llmv2 megrez grok-2", {kQwen2Words}},
      {"ufakzeka", {kUfakzekaWords}},
      {"laguna", {kLines, kQwen2Words}},
      {"seed-coder", {kSeedCoderWords}},
      {"minicpm5", {kThreeDigits, kMiniCpm5Words}, kMergesIgnored},
      {"exaone-moe", {kExaoneMoeWords}},
      {"bailingmoe bailingmoe2 llada-moe", {kBailingWords}},
      {"tekken", {kTekkenWords}, kMergesIgnored | kBosAdded},
      {"gpt-4o llama4 kanana2 talkie minimax-m2", {kGpt4oWords}},
      {"granite-embed-multi-97m", {kGpt4oWords}, kMergesIgnored},
      {"tiny_aya cohere2moe", {kAyaDigits, kGpt4oWords}},
      {"kimi-k2", {kKimiWords}},
      {"youtu", {kYoutuScripts, kYoutuWords}, kMergesIgnored},
      {"deepseek-llm",
       {"[\r\n]", kDeepseekLetters, kDeepseekSymbols, R"(\s+$)", kDeepseekCjk, kDigits}},
      {"deepseek-coder", {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, kDigit}},
      {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", {kThreeDigits, kKanaAndHan, kDeepseekV3Words}},
      {"spark2_5", {kThreeDigits, kKanaAndHan, kSparkWords, kDigit}},
      {"afmoe", {kThreesFromTheRight, kAfmoeScripts, kDeepseekV3Words}},
      {"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Words, kThreeAsciiDigits}},
      {"poro-chat bloom gpt3-finnish", {kBloomWords}},
      {"viking", {kBloomWords, kDigit}},
      {"superbpe", {kDigits, R"((?=(\d{3})+(?!\d)))"}},
      {"chameleon",
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", kDigit,
        R"([\p{P}!-/:-@\[-`{-~])", kGpt2Words},
       kBosAdded},
      {"gemma4 granite-embed-multi-311m", {kLines}, kSpelledAsText | kSpacesEscaped | kBosAdded},
      {"sarvam-moe", {kLines}, kSpelledAsText | kSpacesEscaped},
      {"whitespace", {R"(\S+)"}, kSpelledAsText}};
  return all;
}

bool is_named(const PreTokenizerRow& row, const std::string& name) {
  return !name.empty() && name.find(' ') == std::string::npos &&
         fmt::format(" {} ", row.names).find(fmt::format(" {} ", name)) != std::string::npos;
}

}  // namespace

NamedPreTokenizer named_pre_tokenizer(const std::string& name) {
  const auto row = std::ranges::find_if(
      pre_tokenizer_rows(), [&](const PreTokenizerRow& r) { return is_named(r, name); });
  if (row == pre_tokenizer_rows().end()) {
    std::string known;
    for (const PreTokenizerRow& r : pre_tokenizer_rows())
      known += fmt::format("{}{}", known.empty() ? "" : " ", r.names);
    throw FormatError(
        fmt::format("tokenizer.ggml.pre is '{}', a pre-tokenizer that is not supported (known: {})",
                    name, known));
  }
  NamedPreTokenizer result;
  for (const char* expression : row->expressions) {
    result.pre_tokenizer.add_split({Regex(expression)});
  }
  result.ignore_merges = (row->facts & kMergesIgnored) != 0;
  result.add_bos = (row->facts & kBosAdded) != 0;
  result.nfc = (row->facts & kComposed) != 0;
  result.raw = (row->facts & kSpelledAsText) != 0;
  result.escape_spaces = (row->facts & kSpacesEscaped) != 0;
  return result;
}

}  // namespace leash
