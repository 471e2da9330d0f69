#include "rl/data/weighted_messages.h"

#include <fmt/format.h>

#include "models/errors.h"
#include "rl/data/jsonl.h"

namespace leash {

void WeightedMessages::append(const WeightedMessages& more) {
  messages.insert(messages.end(), more.messages.begin(), more.messages.end());
  trains.insert(trains.end(), more.trains.begin(), more.trains.end());
}

WeightedMessages weighted_messages(const nlohmann::ordered_json& list, std::string_view name) {
  WeightedMessages result{.messages = messages_of(list, name), .trains = {}};
  for (size_t i = 0; i < list.size(); ++i) {
    const auto weight = list[i].find("weight");
    // Arrow writes null where some other message has the key.
    const bool given = weight != list[i].end() && !weight->is_null();
    if (given && *weight != 0 && *weight != 1) {
      throw FormatError(fmt::format("{}[{}]: `weight` has to be 0 (not trained on) or 1", name, i));
    }
    result.trains.push_back(!given || *weight == 1);
    nlohmann::ordered_json& whole = result.messages[i].whole;
    if (weight != list[i].end() && !whole.is_null()) whole.erase("weight");
  }
  return result;
}

}  // namespace leash
