#include "experiments/cli/serve/exchange.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <ctime>
#include <iterator>
#include <random>
#include <utility>

#include "experiments/cli/serve/requests.h"
#include "models/device/out_of_memory.h"
#include "models/errors.h"

namespace leash::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 100ms;  // how soon a client that has gone is noticed
constexpr int kGone = 499;     // nginx's word for it; nobody reads it
constexpr const char* kLate = "the answer took longer than the server allows";

std::string new_id(bool chat) {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}{:08x}", chat ? "chatcmpl" : "cmpl", random(), random(),
                     random());
}

std::string sse(const std::string& data) { return "data: " + data + "\n\n"; }

}  // namespace

HttpReply failure_of(std::exception_ptr error) {
  try {
    std::rethrow_exception(std::move(error));
  } catch (const RequestError& e) {
    return http_error(e.status, e.what(), e.parameter);
  } catch (const FormatError& e) {
    return http_error(400, e.what());
  } catch (const std::exception& e) {
    if (const auto said = shortage(e)) return http_error(503, shortage_text(*said));
    const auto* torch = dynamic_cast<const c10::Error*>(&e);
    return http_error(500, torch != nullptr ? torch->what_without_backtrace() : e.what());
  }
}

Exchange::Exchange(const Tokenizer& tokenizer, Asked asked, std::shared_ptr<ServingTicket> ticket,
                   std::chrono::seconds time)
    : json_(tokenizer, asked.logprobs),
      asked_(std::move(asked)),
      ticket_(std::move(ticket)),
      deadline_(std::chrono::steady_clock::now() + time),
      id_(new_id(asked_.chat)),
      created_(std::time(nullptr)),
      offsets_(asked_.answers.size(), 0) {}

OrderedJson Exchange::envelope(const char* object) const {
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", asked_.model}};
}

OrderedJson Exchange::usage() const {
  int64_t drawn = 0;
  for (const ServedAnswer& answer : asked_.answers) drawn += answer.num_drawn();
  return {{"prompt_tokens", asked_.prompt_tokens},
          {"completion_tokens", drawn},
          {"total_tokens", asked_.prompt_tokens + drawn}};
}

HttpReply Exchange::whole(const Caller& caller) {
  std::vector<AnswerPart> parts(asked_.answers.size());
  while (!ticket_->done()) {
    for (ServingEvent& event : ticket_->wait(kLook)) {
      AnswerPart& whole = parts[event.request];
      AnswerPart more = asked_.answers[event.request].take(std::move(event));
      whole.text += more.text;
      std::ranges::move(more.tokens, std::back_inserter(whole.tokens));
      whole.stop = more.stop;
    }
    if (caller.gone()) return http_error(kGone, "the client has gone");
    if (late()) return http_error(504, kLate);
  }
  OrderedJson reply = envelope(asked_.chat ? "chat.completion" : "text_completion");
  reply["choices"] = OrderedJson::array();
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    reply["choices"].push_back(asked_.chat ? json_.message(index, parts[i])
                                           : json_.completion(index, parts[i], offsets_[i]));
  }
  reply["usage"] = usage();
  return {.body = json_text(reply)};
}

std::string Exchange::event(const OrderedJson& choice) const {
  OrderedJson chunk = envelope(asked_.chat ? "chat.completion.chunk" : "text_completion");
  chunk["choices"] = OrderedJson::array();
  if (!choice.is_null()) chunk["choices"].push_back(choice);
  if (asked_.include_usage) chunk["usage"] = choice.is_null() ? usage() : OrderedJson();
  return sse(json_text(chunk));
}

std::string Exchange::opening() const {
  std::string text;
  for (size_t i = 0; asked_.chat && i < asked_.answers.size(); ++i) {
    text += event({{"index", i},
                   {"delta", {{"role", "assistant"}, {"content", ""}}},
                   {"logprobs", nullptr},
                   {"finish_reason", nullptr}});
  }
  return text;
}

std::string Exchange::ending() const {
  return (asked_.include_usage ? event(nullptr) : "") + sse("[DONE]");
}

std::string Exchange::events_of(std::vector<ServingEvent> events) {
  std::string text;
  for (ServingEvent& event : events) {
    const size_t i = event.request;
    const AnswerPart part = asked_.answers[i].take(std::move(event));
    if (part.text.empty() && part.tokens.empty() && !part.stop) continue;
    // Without log-probs a token alone, whose text is held back, tells nothing.
    if (!asked_.logprobs && part.text.empty() && !part.stop) continue;
    const auto index = static_cast<int64_t>(i);
    text += this->event(asked_.chat ? json_.delta(index, part)
                                    : json_.completion(index, part, offsets_[i]));
  }
  return text;
}

std::optional<std::string> Exchange::next_event() {
  if (ended_) return std::nullopt;
  if (!std::exchange(opened_, true)) {
    const std::string text = opening();
    if (!text.empty()) return text;
  }
  try {
    if (late()) throw RequestError(kLate, "", 504);
    std::string text = events_of(ticket_->wait(kLook));
    if (ticket_->done()) {
      ended_ = true;
      text += ending();
    }
    return text;
  } catch (...) {  // the status has been sent: the error is the last event
    ended_ = true;
    return sse(failure_of(std::current_exception()).body);
  }
}

}  // namespace leash::cli
