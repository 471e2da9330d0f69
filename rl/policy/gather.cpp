// Judged answers as JSON, so that every rank gets all of them; the critic's states stay where they
// are.
#include <algorithm>

#include "rl/distributed/gather_json.h"
#include "rl/policy/experience.h"

namespace leash {
namespace {

using Json = nlohmann::json;

Json to_json(const JudgedAnswer& judged) {
  const Completion& answer = judged.answer;
  return Json::array({answer.sample, answer.prompt_ids, answer.token_ids, answer.logprobs,
                      answer.behaviour_logprobs, answer.entropies, answer.values,
                      static_cast<int>(answer.stop), answer.text, judged.reference_logprobs,
                      judged.values, judged.score, judged.policy_logprobs, judged.parts,
                      judged.exact_kl});
}

JudgedAnswer from_json(const Json& json) {
  return {.answer = {.sample = json[0],
                     .prompt_ids = json[1],
                     .token_ids = json[2],
                     .logprobs = json[3],
                     .behaviour_logprobs = json[4],
                     .entropies = json[5],
                     .values = json[6],
                     .stop = static_cast<StopReason>(json[7].get<int>()),
                     .text = json[8]},
          .policy_logprobs = json[12],
          .reference_logprobs = json[9],
          .exact_kl = json[14],
          .values = json[10],
          .score = json[11],
          .parts = json[13]};
}

}  // namespace

std::vector<JudgedAnswer> gather(Communicator& communicator, const std::vector<JudgedAnswer>& own) {
  auto sent = Json::array();
  for (const JudgedAnswer& judged : own) sent.push_back(to_json(judged));
  std::vector<JudgedAnswer> all;
  for (const Json& entry : gather_json(communicator, sent)) all.push_back(from_json(entry));
  const auto sample = [](const JudgedAnswer& judged) { return judged.answer.sample; };
  std::ranges::sort(all, {}, sample);
  for (const JudgedAnswer& judged : own) {
    std::ranges::lower_bound(all, judged.answer.sample, {}, sample)->critic_states =
        judged.critic_states;
  }
  return all;
}

}  // namespace leash
