#include "rl/reward/sample_json.h"

#include "rl/run/json_line.h"

namespace leash {

nlohmann::ordered_json sample_json(const RewardSample& sample, bool ids) {
  nlohmann::ordered_json messages = nullptr;
  if (!sample.messages.empty()) {
    messages = nlohmann::ordered_json::array();
    for (const ChatMessage& message : sample.messages) messages.push_back(message.json());
  }
  nlohmann::ordered_json json = {
      {"prompt", sample.prompt}, {"messages", messages},
      {"answer", sample.answer}, {"ended", sample.ended},
      {"step", sample.step},     {"row", sample.row ? *sample.row : nlohmann::ordered_json()}};
  if (ids) {
    json["prompt_ids"] = sample.prompt_ids;
    json["answer_ids"] = sample.token_ids;
  }
  return json;
}

std::string request_line(const RewardSample& sample, bool ids) {
  return json_line(sample_json(sample, ids));
}

}  // namespace leash
