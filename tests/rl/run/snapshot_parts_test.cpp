// What a snapshot says of the data that its run read.
#include "rl/run/snapshot_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/errors.h"

namespace leash {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

NumericEnvironment environment(const std::string& train, const std::string& eval) {
  return {.base = "b", .data = {{"train", {"data.jsonl", train}}, {"eval", {"data.jsonl", eval}}}};
}

std::string refusal(const nlohmann::json& saved, const NumericEnvironment& now) {
  Console silent(-1, false);
  try {
    check_environment(saved, now, /*allow_inexact=*/false, silent);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(SnapshotData, IsComparedByRole) {
  const nlohmann::json saved = environment_json(environment("1", "2"));
  EXPECT_EQ(refusal(saved, environment("1", "2")), "");
  EXPECT_THAT(refusal(saved, environment("9", "2")), HasSubstr("data.jsonl 1 (data.train; now 9)"));
  EXPECT_THAT(refusal(saved, environment("1", "9")), HasSubstr("data.jsonl 2 (data.eval; now 9)"));
  NumericEnvironment other = environment("9", "2");
  other.data["train"].file = "others.jsonl";
  EXPECT_EQ(refusal(saved, other), "") << "another file is reported as a changed setting";
}

// By file name, as snapshots were before.
TEST(SnapshotData, OfBeforeIsReadWhereItIsUnambiguous) {
  nlohmann::json saved = environment_json(environment("1", "2"));
  saved["data"] = {{"data.jsonl", "1"}, {"held_out.jsonl", "2"}};
  NumericEnvironment now = environment("1", "2");
  now.data["eval"].file = "held_out.jsonl";
  EXPECT_EQ(refusal(saved, now), "");
  now.data["train"].content = "9";
  EXPECT_THAT(refusal(saved, now), HasSubstr("data.jsonl 1 (data.train; now 9)"));
  // One name for both: what is known is of the held-out data.
  saved["data"] = {{"data.jsonl", "2"}};
  EXPECT_THAT(refusal(saved, environment("1", "2")),
              AllOf(HasSubstr("data.jsonl unknown (data.train; now 1)"), Not(HasSubstr("eval"))));
  EXPECT_THAT(refusal(saved, environment("1", "9")), HasSubstr("data.jsonl 2 (data.eval; now 9)"));
}

TEST(SnapshotCounts, AreWholeAndInTheirRange) {
  const auto count = [](const char* value, int64_t most = 9) {
    return saved_count(nlohmann::json::parse(std::string("{\"n\": ") + value + "}"), "n", "f",
                       most);
  };
  EXPECT_EQ(count("0"), 0);
  EXPECT_EQ(count("9"), 9);
  EXPECT_EQ(count("9223372036854775807", std::numeric_limits<int64_t>::max()),
            std::numeric_limits<int64_t>::max());
  for (const char* bad : {"-1", "10", "1.0", "\"1\"", "null", "18446744073709551615"}) {
    EXPECT_THROW((void)count(bad), FormatError) << bad;
  }
  EXPECT_THROW((void)saved_count(nlohmann::json::object(), "n", "f"), FormatError);
  EXPECT_EQ(saved_step({{"step", 4}}, "run/snapshots/step-4"), 4);
  EXPECT_THROW((void)saved_step({{"step", 4}}, "run/snapshots/step-5"), FormatError);
}

}  // namespace
}  // namespace leash
