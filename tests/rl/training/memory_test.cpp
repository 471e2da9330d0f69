// What a user whose device is full is told to lower.
#include "rl/training/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leash {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// Nothing that the recipe does already, or that it could not do beside what it does.
TEST(MemoryReport, WhileModelsAreLoaded) {
  ModelConfig model;
  RunConfig run;
  const auto lower = [&](bool several_roles) {
    return settings_to_lower(model, run, several_roles);
  };
  EXPECT_THAT(lower(false), Contains(HasSubstr("model.quantize: nf4")));
  EXPECT_THAT(lower(false), Contains(HasSubstr("run.fsdp: full_shard")));
  EXPECT_THAT(lower(false), Not(Contains(HasSubstr("devices"))));
  EXPECT_THAT(lower(true), Contains(HasSubstr("devices: roles on several")));
  model.quantize = Quantize::nf4;
  EXPECT_THAT(lower(true), ::testing::ElementsAre(HasSubstr("devices: roles on several")));
  model.quantize = Quantize::none;
  run.fsdp = Fsdp::full_shard;
  EXPECT_THAT(lower(true), ::testing::ElementsAre(HasSubstr("more processes")));
}

}  // namespace
}  // namespace leash
