// A GGUF file: its header, every metadata value as every type, every tensor; as a checkpoint; as a
// tokenizer.
#include "models/io/gguf.h"

#include "models/io/gguf_checkpoint.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

void read_value(const GgufFile& file, const std::string& key) {
  read_or_refuse([&] { file.string_value(key); });
  read_or_refuse([&] { file.int_value(key); });
  read_or_refuse([&] { file.float_value(key); });
  read_or_refuse([&] { file.strings(key); });
  read_or_refuse([&] { file.ints(key); });
  read_or_refuse([&] { file.floats(key); });
  read_or_refuse([&] { file.array_size(key); });
}

void read_file(const std::filesystem::path& path) {
  const auto file = GgufFile::open(path);
  for (const std::string& key : file->metadata_keys()) read_value(*file, key);
  for (const std::string& name : file->names()) {
    read_or_refuse([&] { file->raw(name); });
    read_or_refuse([&] { file->read(name, at::kFloat); });
  }
}

void read_checkpoint(const std::filesystem::path& path) {
  const Checkpoint checkpoint = open_gguf_checkpoint(path);
  for (const std::string& name : checkpoint.tensors->names()) {
    read_or_refuse([&] { checkpoint.tensors->read(name, at::kFloat); });
    read_or_refuse([&] { checkpoint.tensors->blocks(name); });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  folder.put("model.gguf", text_of(data, size));
  const auto file = folder / "model.gguf";
  read_or_refuse([&] { read_file(file); });
  read_or_refuse([&] { read_checkpoint(file); });
  read_or_refuse([&] {
    const Tokenizer tokenizer = Tokenizer::load(file);
    tokenizer.decode(tokenizer.encode_with_special("Grüße, 1234 <|im_start|>you\n"));
  });
  return 0;
}
