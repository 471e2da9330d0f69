// Valid small files with a few bytes changed at random: they load, or give a FormatError. Run under
// the sanitizers too (`make asan`). Seeds are fixed, so a failure repeats.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "models/decoder/decoder.h"
#include "models/io/checkpoint.h"
#include "models/io/gguf.h"
#include "models/io/safetensors.h"
#include "models/io/snapshot.h"
#include "models/lora/peft_adapter.h"
#include "models/tokenizer/tokenizer.h"
#include "tests/models/io/damage.h"
#include "tests/models/tokenizer/tiny.h"

namespace leash::testing {
namespace {

namespace fs = std::filesystem;

// Numbers that break careless code, as 8 bytes.
constexpr uint64_t kNasty[] = {
    0, 1, 0x7f, 0xff, 0xffff, 0xffffffff, 1u << 31, uint64_t{1} << 63, INT64_MAX, UINT64_MAX};

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // One to four changes, most of them in the first `header` bytes.
  std::string operator()(std::string bytes, size_t header) {
    const size_t changes = 1 + below(4);
    for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
      const size_t range = below(8) == 0 ? bytes.size() : std::min(header, bytes.size());
      change(bytes, below(range));
    }
    return bytes;
  }

 private:
  size_t below(size_t limit) { return random_() % limit; }

  void change(std::string& bytes, size_t at) {
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 2: {
        const std::string nasty = bytes_of(kNasty[below(std::size(kNasty))]);
        bytes.replace(at, std::min(nasty.size(), bytes.size() - at),
                      nasty.substr(0, std::min(nasty.size(), bytes.size() - at)));
        break;
      }
      case 3:
        bytes.erase(at, 1 + below(16));
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), 1 + below(24)));
        break;
      case 5: {  // a digit, quote or bracket: what breaks JSON's structure
        constexpr std::string_view kMarks = "0123456789-\"[]{},:.eE\\\x80\xff";
        bytes[at] = kMarks[below(kMarks.size())];
        break;
      }
    }
  }

  std::mt19937 random_;
};

struct Outcome {
  int loaded = 0;
  int refused = 0;
};

// Changes `file` again and again; `load` may throw FormatError and nothing else.
Outcome fuzz(const fs::path& file, int rounds, size_t header, const std::function<void()>& load) {
  const std::string whole = read_text(file);
  Outcome outcome;
  for (int round = 0; round < rounds; ++round) {
    fs::remove(file);  // writing over a file would wait for the disk on some file systems
    write_text(file, Mutator(static_cast<uint32_t>(round))(whole, header));
    try {
      load();
      ++outcome.loaded;
    } catch (const FormatError& error) {
      ++outcome.refused;
      EXPECT_LT(std::string_view(error.what()).size(), 4000U) << round;
    } catch (const std::exception& error) {
      ADD_FAILURE() << file << " round " << round << ": " << error.what();
    }
  }
  write_text(file, whole);
  load();
  return outcome;
}

void read_all(const TensorSource& source) {
  for (const std::string& name : source.names()) source.read(name, at::kFloat);
}

TEST(Fuzz, Safetensors) {
  const ScratchFolder folder;
  const auto file = folder / "x.safetensors";
  fs::copy(repository("tests/golden/dtypes.safetensors"), file);
  const Outcome outcome = fuzz(file, 3000, 900, [&] {
    read_all(*open_safetensors(file));
    read_safetensors_metadata(file);
  });
  EXPECT_GT(outcome.refused, 1500);
}

TEST(Fuzz, ShardedSafetensors) {
  const ScratchFolder folder;
  fs::copy(repository("tests/golden/tiny_sharded"), folder.path(), fs::copy_options::recursive);
  const auto index = folder / "model.safetensors.index.json";
  const Outcome outcome =
      fuzz(index, 500, 2000, [&] { read_all(*open_sharded_safetensors(index)); });
  EXPECT_GT(outcome.refused, 250);
}

TEST(Fuzz, ConfigJson) {
  const ScratchFolder folder;
  fs::copy(repository("tests/golden/tiny_sharded"), folder.path(), fs::copy_options::recursive);
  const Outcome outcome = fuzz(folder / "config.json", 1000, 2000,
                               [&] { Decoder::load(open_checkpoint(folder.path())); });
  EXPECT_GT(outcome.refused, 500);
}

TEST(Fuzz, Gguf) {
  const ScratchFolder folder;
  const auto file = folder / "x.gguf";
  fs::copy(repository("tests/golden/gguf/tiny_v2.gguf"), file);
  const Outcome outcome = fuzz(file, 3000, 2200, [&] {
    const auto gguf = GgufFile::open(file);
    for (const auto& key : gguf->metadata_keys()) gguf->array_size(key);
    read_all(*gguf);
    Decoder::load(open_checkpoint(file));
  });
  EXPECT_GT(outcome.refused, 1500);
}

TEST(Fuzz, GgufVocabulary) {
  const ScratchFolder folder;
  const auto file = folder / "x.gguf";
  TinyGguf gguf;
  gguf.more.add("tokenizer.ggml.model", gguf.model);
  gguf.more.add("tokenizer.ggml.pre", gguf.pre);
  gguf.more.add("tokenizer.ggml.token_type", gguf.types);
  gguf.more.add("tokenizer.ggml.merges", gguf.merges);
  gguf.more.add("tokenizer.ggml.tokens", gguf.tokens);
  write_text(file, gguf.more.bytes());
  const Outcome outcome = fuzz(file, 1000, gguf.more.bytes().size(), [&] {
    const Tokenizer tokenizer = Tokenizer::load(file);
    tokenizer.decode(tokenizer.encode("the quick <|end|> fox 123"));
  });
  EXPECT_GT(outcome.refused, 300);
}

TEST(Fuzz, TokenizerJson) {
  const ScratchFolder folder;
  // Small, so that a change meets something that matters.
  const auto file = folder / "tokenizer.json";
  nlohmann::json json =
      nlohmann::json::parse(read_text(repository("tests/golden/tiny_tokenizer/tokenizer.json")));
  write_text(file, json.dump());
  const Outcome outcome = fuzz(file, 400, 1500, [&] {
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    tokenizer.decode(tokenizer.encode("the quick <|end|> fox 123"));
  });
  EXPECT_GT(outcome.refused, 200);
}

TEST(Fuzz, AdapterFolder) {
  const ScratchFolder folder;
  const auto decoder = Decoder::load(open_checkpoint(repository("tests/golden/tiny_llama")));
  fs::copy(repository("tests/golden/tiny_llama_adapter"), folder.path(),
           fs::copy_options::recursive);
  const auto load = [&] { load_adapter(folder.path(), decoder->modules()); };
  EXPECT_GT(fuzz(folder / "adapter_config.json", 1000, 2000, load).refused, 500);
  EXPECT_GT(fuzz(folder / "adapter_model.safetensors", 1000, 2500, load).refused, 500);
}

// A damaged manifest is a message, whatever it holds.
TEST(Fuzz, SnapshotManifest) {
  const ScratchFolder folder;
  SnapshotWriter writer(folder.path(), 3);
  write_text(writer.folder() / "policy/a", std::string(300, 'a'));
  write_text(writer.folder() / "state.json", "{}");
  const Snapshot snapshot = writer.commit();
  const auto manifest = snapshot.path / "MANIFEST.json";
  const std::string whole = read_text(manifest);
  int damaged = 0;
  for (uint32_t round = 0; round < 2000; ++round) {
    fs::remove(manifest);
    write_text(manifest, Mutator(round)(whole, whole.size()));
    damaged += snapshot_damage(snapshot.path).has_value() ? 1 : 0;
  }
  EXPECT_GT(damaged, 1000);
  write_text(manifest, whole);
  EXPECT_EQ(snapshot_damage(snapshot.path), std::nullopt);
  for (const std::string& text :
       {std::string(5'000'000, '['), "{\"files\":" + std::string(5'000'000, '{'), std::string(),
        std::string("{\"files\":{\"a\":3}}"), std::string("{\"files\":{\"\xFF\":{}}}"),
        std::string("{\"files\":{\"../../etc/passwd\":{\"bytes\":1,\"crc32c\":\"0\"}}}")}) {
    write_text(manifest, text);
    EXPECT_TRUE(snapshot_damage(snapshot.path).has_value());
  }
}

// Looking up each of many names must not take the square of their number.
TEST(Fuzz, ManifestOfManyNames) {
  const ScratchFolder folder;
  const Snapshot snapshot = SnapshotWriter(folder.path(), 3).commit();
  std::string text = "{\"files\":{\"0\":0";
  for (int i = 1; i < 300'000; ++i) text += ",\"" + std::to_string(i) + "\":0";
  write_text(snapshot.path / "MANIFEST.json", text + "}}");
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(snapshot_damage(snapshot.path).has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

}  // namespace
}  // namespace leash::testing
