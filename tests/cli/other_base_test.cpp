// Adapters of another base, at every door that takes one.
#include "tests/cli/workspace.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

class OtherBaseCommands : public ::testing::Test {
 protected:
  OtherBaseCommands() {
    TinyOptions other = tiny_byte_options();
    other.seed = 8;
    write_tiny_folder(work_ / "other", other);
    write_tiny_adapter(work_ / "adapter", work_ / "other");
    write_text(work_ / "in.jsonl", "{\"text\": \"abc\"}\n");
  }
  // Refused, and taken where it is asked for.
  void expect_waivable(const std::string& command, Lines args) {
    expect_error(work_.run(command, args), 3, "was trained on another base than");
    args.emplace_back("--allow-other-base");
    const Ended ended = work_.run(command, args);
    expect_done(ended);
  }
  Workspace work_;
};

TEST_F(OtherBaseCommands, AskForTheFlag) {
  expect_waivable("generate", {"--adapter", "adapter", "--prompt", "a", "--max-new-tokens", "2"});
  expect_waivable("score", {"--adapter", "adapter", "--input", "in.jsonl"});
  expect_waivable("kl-report", {"--policy", "adapter", "--input", "in.jsonl", "--out", "report"});
}

}  // namespace
}  // namespace leash::testing
