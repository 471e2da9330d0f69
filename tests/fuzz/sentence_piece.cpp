// A folder with SentencePiece's tokenizer.model alone: loaded, and used on a text.
#include "models/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

constexpr std::string_view kText =
    " The  quick\tfox; Gr\u00fc\u00dfe e\u0301 \u4f60\u597d \U0001f600\r\n<s>ab</s> \u2581 "
    "\xff\xc3 12345 ";

void use(const Tokenizer& tokenizer) {
  const std::vector<int64_t> ids = tokenizer.encode_with_special(kText);
  for (const int64_t id : ids) tokenizer.token_bytes(id);
  StreamDecoder stream(tokenizer, /*skip_special=*/false);
  std::string streamed;
  for (const int64_t id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  require(streamed == tokenizer.decode(ids), "a stream of ids is the text of all of them");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  folder.put("tokenizer.model", text_of(data, size));
  read_or_refuse([&] { use(Tokenizer::load(folder.path())); });
  return 0;
}
