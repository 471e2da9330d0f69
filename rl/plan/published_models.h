// Published models by the facts of their config.json: what `leash plan --table` goes over.
#pragma once

#include <string_view>
#include <vector>

#include "rl/plan/model_facts.h"

namespace leash {

struct PublishedModel {
  std::string_view name;
  std::string_view config;  // what of config.json a plan depends on; the family's reader reads it
};

// Family by family, smallest first.
const std::vector<PublishedModel>& published_models();

ModelFacts facts_of(const PublishedModel& model);

}  // namespace leash
