#include "experiments/label/view_json.h"

#include "rl/data/jsonl.h"

namespace leash::label {
namespace {

const char* offer_name(Offer offer) {
  switch (offer) {
    case Offer::pair:
      return "pair";
    case Offer::waiting:
      return "waiting";
    case Offer::done:
      return "done";
    case Offer::failed:
      return "failed";
  }
  return "?";
}

Json prompt_json(const Json& prompt) {
  Json parts = Json::array();
  if (prompt.is_string()) {
    parts.push_back({{"role", nullptr}, {"text", prompt}});
    return parts;
  }
  for (const ChatMessage& message : messages_of(prompt, "prompt")) {
    parts.push_back({{"role", message.role}, {"text", message.content}});
  }
  return parts;
}

}  // namespace

Json view_json(const View& view, const std::string& user) {
  Json json = {{"offer", offer_name(view.offer)},
               {"pair", nullptr},
               {"user", user},
               {"can_undo", view.can_undo},
               {"progress",
                {{"judged", view.progress.judged},
                 {"skipped", view.progress.skipped},
                 {"left", view.progress.left},
                 {"total", view.progress.total()}}}};
  if (!view.failure.empty()) json["failure"] = view.failure;
  if (view.offer != Offer::pair) return json;
  json["pair"] = {{"id", view.pair},
                  {"prompt", prompt_json(view.prompt)},
                  {"left", shown_text(view.left)},
                  {"right", shown_text(view.right)},
                  {"left_cut", view.left_cut},
                  {"right_cut", view.right_cut},
                  {"comment", view.comment}};
  return json;
}

}  // namespace leash::label
