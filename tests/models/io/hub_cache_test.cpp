// Names of Hugging Face's hub, and its cache as `hf download` lays it out.
#include "models/io/hub_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "models/io/checkpoint.h"
#include "models/lora/peft_adapter.h"
#include "tests/models/io/damage.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

// Sets a variable while it lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (value == nullptr) {
      unsetenv(name);
    } else {
      setenv(name, value, 1);
    }
  }
  ~Variable() {
    if (before_) {
      setenv(name_, before_->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(HubName, IsAnOwnerAndANameWithARevisionOrWithout) {
  const auto name = parse_hub_name("Qwen/Qwen2.5-0.5B");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->repository, "Qwen/Qwen2.5-0.5B");
  EXPECT_EQ(name->download_command(), "hf download Qwen/Qwen2.5-0.5B");
  const auto revised = parse_hub_name("a/b@refs/pr/1");
  ASSERT_TRUE(revised);
  EXPECT_EQ(revised->repository, "a/b");
  EXPECT_EQ(revised->download_command(), "hf download a/b --revision refs/pr/1");
  for (const char* text :
       {"gpt2", "a/b/c", "/a/b", "./a", "../a", "a/..", "a/b@", "a/b@../x", "a/b c", "a--b/c",
        "a/b.git", "-a/b", "a/b.", "a/", "/b", "a/b@/x", "~/x"}) {
    EXPECT_FALSE(parse_hub_name(text)) << text;
  }
}

class HubCache : public ::testing::Test {
 protected:
  std::filesystem::path put(const std::string& repository, const std::string& revision,
                            const std::string& commit) const {
    const auto folder = folder_ / repository;
    const auto snapshot = folder / "snapshots" / commit;
    std::filesystem::create_directories(snapshot);
    std::filesystem::create_directories((folder / "refs" / revision).parent_path());
    write_text(folder / "refs" / revision, commit);
    write_text(snapshot / "config.json", "{}");
    return snapshot;
  }
  ScratchFolder folder_;
  Variable cache_{"HF_HUB_CACHE", folder_.path().c_str()};
};

TEST_F(HubCache, FindsTheSnapshotThatARevisionNames) {
  const auto main = put("models--org--name", "main", kCommit);
  const auto tag = put("models--org--name", "v1.0", "aaaa");
  const auto request = put("models--org--name", "refs/pr/7", "bbbb");
  EXPECT_EQ(resolve_model("org/name"), main);
  EXPECT_EQ(resolve_model("org/name@main"), main);
  EXPECT_EQ(resolve_model("org/name@v1.0"), tag);
  EXPECT_EQ(resolve_model("org/name@refs/pr/7"), request);
  EXPECT_EQ(resolve_model(std::string("org/name@") + kCommit), main);
  EXPECT_THAT(format_error([] { resolve_model("org/name@v2"); }),
              HasSubstr("`hf download org/name --revision v2`"));
  EXPECT_THAT(format_error([] { resolve_model("org/name@v2"); }), HasSubstr("aaaa, bbbb]"));
  EXPECT_THAT(format_error([] { resolve_model("org/other"); }),
              HasSubstr("`hf download org/other`"));
  EXPECT_EQ(hub_repository(main), "org/name");
  EXPECT_EQ(hub_repository("/models/org/name"), std::nullopt);
}

TEST_F(HubCache, AReferenceLeadsNowhereElse) {
  put("models--org--name", "main", kCommit);
  for (const char* text : {"../../..", "", "/etc", ".."}) {
    write_text(folder_ / "models--org--name/refs/main", text);
    EXPECT_THAT(format_error([] { resolve_model("org/name"); }), HasSubstr("holds no commit"))
        << text;
  }
  write_text(folder_ / "models--org--name/refs/main", "cccc\n");
  EXPECT_THAT(format_error([] { resolve_model("org/name"); }), HasSubstr("not its revision main"));
}

TEST_F(HubCache, ASnapshotWithOneGgufIsThatFile) {
  const auto snapshot = put("models--org--name", "main", kCommit);
  std::filesystem::remove(snapshot / "config.json");
  write_text(snapshot / "model-Q8_0.gguf", "");
  EXPECT_EQ(resolve_model("org/name"), snapshot / "model-Q8_0.gguf");
  write_text(snapshot / "model-Q4_0.gguf", "");
  EXPECT_THAT(format_error([] { resolve_model("org/name"); }),
              HasSubstr("give one of the files: model-Q4_0.gguf, model-Q8_0.gguf"));
}

TEST_F(HubCache, ADownloadThatBrokeOffNamesTheCommand) {
  const auto snapshot = put("models--org--name", "main", kCommit);
  std::filesystem::copy_file(repository("tests/golden/tiny_llama/config.json"),
                             snapshot / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(format_error([&] { open_checkpoint(resolve_model("org/name")); }),
              HasSubstr("`hf download org/name`"));
}

TEST(HubCacheFolder, GoesByTheHubsVariables) {
  const Variable cache("HF_HUB_CACHE", nullptr), older("HUGGINGFACE_HUB_CACHE", nullptr),
      hf("HF_HOME", nullptr), xdg("XDG_CACHE_HOME", nullptr), home("HOME", "/h");
  EXPECT_EQ(hub_cache_folder(), "/h/.cache/huggingface/hub");
  const Variable xdg_too("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(hub_cache_folder(), "/x/huggingface/hub");
  const Variable hf_too("HF_HOME", "~/hf");
  EXPECT_EQ(hub_cache_folder(), "/h/hf/hub");
  const Variable cache_too("HF_HUB_CACHE", "/c");
  EXPECT_EQ(hub_cache_folder(), "/c");
}

// An adapter says whose it is by the name that other machines know.
TEST(HubRepository, IsTheBaseInAnAdaptersConfiguration) {
  const Adapter adapter(LoraConfig{}, {});
  const std::string text =
      adapter_config_text(adapter, std::string("/c/models--org--name/snapshots/") + kCommit);
  EXPECT_THAT(text, HasSubstr("\"base_model_name_or_path\": \"org/name\""));
}

}  // namespace
}  // namespace leash::testing
