// What tells one base from another, and adapters that go on another one.
#include "models/decoder/base_fingerprint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/decoder/start_adapter.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "tests/models/io/damage.h"
#include "tests/support/heard_notices.h"
#include "tests/support/tiny_folder.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string fingerprint_of(const TinyOptions& options) {
  return base_fingerprint(tiny_checkpoint(options));
}

TEST(BaseFingerprint, TellsModelsApart) {
  const std::string one = fingerprint_of({});
  EXPECT_EQ(fingerprint_of({}), one);
  EXPECT_NE(fingerprint_of({.seed = 8}), one);
  EXPECT_NE(fingerprint_of({.num_kv_heads = 4}), one);
  EXPECT_NE(fingerprint_of({.qkv_bias = true}), one);
}

// Whatever type the weights are loaded in, and however they are quantised.
TEST(BaseFingerprint, SurvivesTypesAndQuantisation) {
  const Checkpoint checkpoint = tiny_checkpoint();
  const std::string one = Decoder::load(checkpoint)->identity().fingerprint;
  for (const Quantize quantize : {Quantize::nf4, Quantize::int8}) {
    EXPECT_EQ(Decoder::load(checkpoint, at::kBFloat16, quantize)->identity().fingerprint, one);
  }
  Checkpoint half = checkpoint;
  auto tensors = std::make_shared<MemoryTensors>();
  for (const std::string& name : checkpoint.tensors->names()) {
    tensors->tensors[name] = checkpoint.tensors->read(name, at::kBFloat16);
  }
  half.tensors = tensors;
  EXPECT_EQ(base_fingerprint(half), one);
}

class OtherBase : public ::testing::Test {
 protected:
  // An adapter of this base, as a run exports it.
  void write_adapter(const fs::path& model) {
    const auto decoder = Decoder::load(open_checkpoint(model));
    save_adapter(folder_ / "adapter", tiny_adapter(*decoder), model.string(),
                 base_metadata(decoder->identity()));
  }
  std::string error(const fs::path& model) const {
    const auto decoder = Decoder::load(open_checkpoint(model));
    const LoraConfig config{.path = folder_ / "adapter"};
    return format_error([&] { start_adapter(config, *decoder, 1); });
  }
  ~OtherBase() override { waive_base_check(false); }
  ScratchFolder folder_;
};

// The two goldens hold one model, as transformers and as llama.cpp's converter wrote it.
TEST_F(OtherBase, AnAdapterOfAGgufOpensOnTheFolderItWasMadeOf) {
  const fs::path gguf = repository("tests/golden/gguf/tiny_v3.gguf");
  const fs::path folder = repository("tests/golden/tiny_sharded");
  EXPECT_EQ(base_fingerprint(open_checkpoint(gguf)), base_fingerprint(open_checkpoint(folder)));
  write_adapter(gguf);
  EXPECT_EQ(error(folder), "");
  write_adapter(folder);
  EXPECT_EQ(error(gguf), "");
}

TEST_F(OtherBase, AnotherBaseOfTheSameShapesIsRefused) {
  TinyOptions other = tiny_byte_options();
  other.seed = 8;
  write_tiny_folder(folder_ / "own");
  write_tiny_folder(folder_ / "other", other);
  write_adapter(folder_ / "own");
  HeardNotices heard;
  EXPECT_EQ(error(folder_ / "own"), "");
  EXPECT_THAT(error(folder_ / "other"), HasSubstr("was trained on another base than"));
  EXPECT_THAT(error(folder_ / "other"), HasSubstr("--allow-other-base"));
  waive_base_check(true);
  EXPECT_EQ(error(folder_ / "other"), "");
  EXPECT_TRUE(heard.texts.empty());
}

// PEFT's own files say nothing but a name.
TEST_F(OtherBase, WithoutAFingerprintNamesAreCompared) {
  write_tiny_folder(folder_ / "Tiny-Model");
  const auto decoder = Decoder::load(open_checkpoint(folder_ / "Tiny-Model"));
  HeardNotices heard;
  for (const char* base : {"Some-Org/tiny-model", "/elsewhere/Tiny-Model.Q4_1.gguf", "", "Tiny/"}) {
    save_adapter(folder_ / "adapter", tiny_adapter(*decoder), base);
    EXPECT_EQ(error(folder_ / "Tiny-Model"), "");
    EXPECT_TRUE(heard.texts.empty()) << base;
  }
  save_adapter(folder_ / "adapter", tiny_adapter(*decoder), "Some-Org/other\x1b-model");
  EXPECT_EQ(error(folder_ / "Tiny-Model"), "");
  EXPECT_THAT(heard.texts, ElementsAre(HasSubstr("says that its base is 'Some-Org/other\\x1b-mo")));
}

}  // namespace
}  // namespace leash::testing
