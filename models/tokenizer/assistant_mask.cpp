#include "models/tokenizer/assistant_mask.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>

#include "models/errors.h"

namespace leash {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string role_of(const OrderedJson& message) {
  if (!message.is_object()) return "";
  const auto role = message.find("role");
  return role != message.end() && role->is_string() ? role->get<std::string>() : "";
}

// Where each token ends in the text; empty where the tokens' bytes are not the text's.
std::vector<size_t> ends_of_tokens(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                                   std::string_view text) {
  std::vector<size_t> ends;
  size_t at = 0;
  for (const int64_t id : ids) {
    const std::string bytes = tokenizer.token_bytes(id);
    if (text.substr(std::min(at, text.size()), bytes.size()) != bytes) return {};
    at += bytes.size();
    ends.push_back(at);
  }
  return at == text.size() ? ends : std::vector<size_t>{};
}

// Tokens [begin, end) that lie in, or reach into, bytes of the text.
class TokenPlaces {
 public:
  TokenPlaces(const Tokenizer& tokenizer, const RenderedChat& chat, const std::vector<int64_t>& ids)
      : tokenizer_(tokenizer),
        chat_(chat),
        ids_(ids),
        ends_(ends_of_tokens(tokenizer, ids, chat.text)) {}

  // The token that byte `at` lies in.
  size_t token_at(size_t at) const {
    if (!ends_.empty() || ids_.empty()) {
      return static_cast<size_t>(std::ranges::upper_bound(ends_, at) - ends_.begin());
    }
    // Where a tokenizer changes its text: what is equal to the text before alone ends before it.
    const std::vector<int64_t> before = encode_until(at);
    const auto same = std::ranges::mismatch(before, ids_);
    return static_cast<size_t>(same.in2 - ids_.begin());
  }
  void mark(ByteRange range, std::vector<uint8_t>& mask) const {
    if (range.begin >= range.end) return;
    const size_t begin = token_at(range.begin);
    size_t end = token_at(range.end - 1) + 1;
    if (range.end == chat_.text.size()) end = ids_.size();
    for (size_t i = begin; i < std::min(end, mask.size()); ++i) mask[i] = 1;
  }

 private:
  std::vector<int64_t> encode_until(size_t at) const {
    std::vector<ByteRange> plain;
    for (const ByteRange& range : chat_.foreign) {
      if (range.begin < at) plain.push_back({range.begin, std::min(range.end, at)});
    }
    return tokenizer_.encode(std::string_view(chat_.text).substr(0, at), plain);
  }

  const Tokenizer& tokenizer_;
  const RenderedChat& chat_;
  const std::vector<int64_t>& ids_;
  std::vector<size_t> ends_;
};

// What renders a conversation of the first `count` messages with or without the cue of the
// assistant, with one message's words marked.
using RenderPart = std::function<RenderedChat(size_t count, bool cue, const MarkedMessage& marked)>;

// What stands behind the messages before `turn` where the assistant is asked to speak; empty where
// the template does not render so few.
std::string cue_before(const RenderPart& render, size_t turn) {
  try {
    const std::string without = render(turn, false, {}).text;
    const std::string with = render(turn, true, {}).text;
    return with.starts_with(without) ? with.substr(without.size()) : "";
  } catch (const FormatError&) {
    return "";
  }
}

// The longest beginning of `cue` that `gap` has, nearest to its end: where the turn's own part of
// the text begins.
size_t behind_cue(std::string_view gap, std::string_view cue) {
  for (size_t size = cue.size(); size > 0; --size) {
    const size_t found = gap.rfind(cue.substr(0, size));
    if (found != gap.npos) return found + size;
  }
  return gap.size();
}

class TurnMasks {
 public:
  TurnMasks(const Tokenizer& tokenizer, const RenderedChat& chat, RenderPart render,
            std::vector<std::string> roles)
      : tokenizer_(tokenizer), chat_(chat), render_(std::move(render)), roles_(std::move(roles)) {}

  std::vector<uint8_t> mask(const std::vector<int64_t>& ids) const {
    std::vector<uint8_t> mask(ids.size(), 0);
    const TokenPlaces places(tokenizer_, chat_, ids);
    std::vector<ByteRange> words;
    for (size_t i = 0; i < roles_.size(); ++i) words.push_back(words_of(i));
    size_t behind = 0;  // of the words before the turn
    bool any_turn = false, any_words = false;
    for (size_t i = 0; i < roles_.size(); ++i) {
      if (words[i].end == 0) continue;
      if (roles_[i] == "assistant") {
        any_words = true;
        const std::string_view gap =
            std::string_view(chat_.text)
                .substr(behind, words[i].begin - std::min(behind, words[i].begin));
        const size_t begin = words[i].begin - gap.size() + behind_cue(gap, cue_before(render_, i));
        places.mark({begin, words[i].end}, mask);
        mark_ending(places, ids, i, words[i].end, next_words(words, i), mask);
      }
      behind = words[i].end;
    }
    for (const std::string& role : roles_) any_turn = any_turn || role == "assistant";
    if (any_turn && !any_words) {
      throw FormatError(
          "the chat template renders nothing of what the assistant says, so that no token would be "
          "trained");
    }
    return mask;
  }

 private:
  // From the first to the last byte of a message's own words; {0, 0} where it has none in the text.
  ByteRange words_of(size_t i) const {
    const RenderedChat marked =
        render_(roles_.size(), false, [i](size_t index, const std::string&) { return index == i; });
    if (marked.foreign.empty()) return {};
    return {marked.foreign.front().begin, marked.foreign.back().end};
  }

  // Where the next message's words begin.
  size_t next_words(const std::vector<ByteRange>& words, size_t i) const {
    for (size_t next = i + 1; next < words.size(); ++next) {
      if (words[next].end > words[i].end) return words[next].begin;
    }
    return chat_.text.size();
  }

  // What a conversation that ends with the turn has behind its words, where the whole has the same
  // there. Else up to the special token that ends the turn, before the next message's words.
  void mark_ending(const TokenPlaces& places, const std::vector<int64_t>& ids, size_t turn,
                   size_t words_end, size_t next, std::vector<uint8_t>& mask) const {
    const std::string ending = ending_of(turn);
    const std::string_view behind = std::string_view(chat_.text).substr(words_end);
    if (!ending.empty() && behind.starts_with(ending) && words_end + ending.size() <= next) {
      return places.mark({words_end, words_end + ending.size()}, mask);
    }
    if (behind.empty()) return;
    const size_t first = places.token_at(words_end);
    const size_t last = next < chat_.text.size() ? places.token_at(next) : ids.size();
    for (size_t end = first; end < last; ++end) {
      if (!tokenizer_.is_special(ids[end]) && tokenizer_.eos_token_id() != ids[end]) continue;
      std::fill(mask.begin() + static_cast<int64_t>(first),
                mask.begin() + static_cast<int64_t>(end) + 1, 1);
      return;
    }
  }

  std::string ending_of(size_t turn) const {
    try {
      const RenderedChat until =
          render_(turn + 1, false, [turn](size_t i, const std::string&) { return i == turn; });
      return until.foreign.empty() ? "" : until.text.substr(until.foreign.back().end);
    } catch (const FormatError&) {
      return "";  // the template does not render so few
    }
  }

  const Tokenizer& tokenizer_;
  const RenderedChat& chat_;
  RenderPart render_;
  std::vector<std::string> roles_;
};

MaskedChat masked(const Tokenizer& tokenizer, const RenderedChat& chat, const RenderPart& render,
                  std::vector<std::string> roles) {
  MaskedChat result{.ids = encode_rendered(tokenizer, chat), .assistant = {}};
  result.assistant.assign(result.ids.size(), 0);
  const TokenPlaces places(tokenizer, chat, result.ids);
  bool any = false;
  for (const ByteRange& range : chat.generated) {
    places.mark(range, result.assistant);
    any = any || range.begin < range.end;
  }
  if (!any)
    result.assistant = TurnMasks(tokenizer, chat, render, std::move(roles)).mask(result.ids);
  return result;
}

}  // namespace

MaskedChat encode_with_mask(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                            bool add_generation_prompt, const ChatOptions& options) {
  std::vector<std::string> roles;
  for (const ChatMessage& message : messages) roles.push_back(message.role);
  const RenderedChat chat = render_chat(tokenizer, messages, add_generation_prompt, options);
  return masked(
      tokenizer, chat,
      [&](size_t count, bool cue, const MarkedMessage& marked) {
        return tokenizer.chat().render(messages.first(count), cue, options, marked);
      },
      std::move(roles));
}

MaskedChat mask_of_row(const Tokenizer& tokenizer, const OrderedJson& row,
                       const RenderedChat& chat) {
  std::vector<std::string> roles;
  const auto found = row.find("messages");
  const OrderedJson messages =
      found != row.end() && found->is_array() ? *found : OrderedJson::array();
  for (const OrderedJson& message : messages) roles.push_back(role_of(message));
  return masked(
      tokenizer, chat,
      [&](size_t count, bool cue, const MarkedMessage& marked) {
        OrderedJson part = row;
        part["messages"] =
            OrderedJson(messages.begin(), messages.begin() + static_cast<int64_t>(count));
        part["add_generation_prompt"] = cue;
        return tokenizer.chat().render_row(part, marked);
      },
      std::move(roles));
}

}  // namespace leash
