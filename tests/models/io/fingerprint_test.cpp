#include "models/io/fingerprint.h"

#include <gtest/gtest.h>

#include <utility>

#include "models/errors.h"
#include "tests/support/files.h"

namespace leash {
namespace {

using testing::ScratchFolder;
using testing::write_text;

TEST(Fingerprint, NoticesAChangeInAnyFileOfACheckpoint) {
  const ScratchFolder folder;
  write_text(folder / "a.gguf", "weights");
  const std::string small = fingerprint(folder / "a.gguf");
  EXPECT_EQ(small.substr(0, 9), "7 bytes, ");
  write_text(folder / "a.gguf", "weighty");
  const std::string changed = fingerprint(folder / "a.gguf");
  EXPECT_NE(changed, small);
  std::filesystem::rename(folder / "a.gguf", folder / "b.gguf");
  EXPECT_EQ(fingerprint(folder / "b.gguf"), changed);

  const auto model = folder / "model";
  write_text(model / "config.json", "{}");
  write_text(model / "model.safetensors", std::string(100, 'x'));
  const std::string whole = fingerprint(model);
  write_text(model / "README.md", "not part of it");
  write_text(model / "adapter_model.safetensors", "nor this");
  EXPECT_EQ(fingerprint(model), whole);
  write_text(model / "tokenizer.json", "{}");
  EXPECT_NE(fingerprint(model), whole);
  write_text(model / "config.json", "[]");
  EXPECT_NE(fingerprint(model), whole);
  EXPECT_THROW(fingerprint(folder / "none"), FormatError);
  write_text(model / "adapter_config.json", "{}");
  const std::string adapter = adapter_fingerprint(model);
  write_text(model / "config.json", "{}");
  EXPECT_EQ(adapter_fingerprint(model), adapter);
  write_text(model / "adapter_model.safetensors", "nor that");
  EXPECT_NE(adapter_fingerprint(model), adapter);
}

// Of a large file, blocks at even distances with both ends: a file that was trained on differs.
TEST(Fingerprint, SamplesLargeFiles) {
  const ScratchFolder folder;
  const auto file = folder / "large.gguf";
  std::string bytes(9'000'000, 'a');
  const auto of = [&] {
    write_text(file, bytes);
    return fingerprint(file);
  };
  const std::string before = of();
  EXPECT_EQ(of(), before);
  for (const size_t changed : {size_t{0}, size_t{65'535}, bytes.size() - 1}) {
    const char old = std::exchange(bytes[changed], 'b');
    EXPECT_NE(of(), before) << changed;
    bytes[changed] = old;
  }
  bytes[65'600] = 'b';  // between two blocks: the price
  EXPECT_EQ(of(), before);
}

}  // namespace
}  // namespace leash
