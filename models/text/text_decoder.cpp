// The chain of steps, and their states.
#include "models/text/text_decoder.h"

#include "models/text/byte_alphabet.h"
#include "models/text/utf8.h"

namespace leash {

struct TextDecoder::Stream::Chain {
  struct Collector final : DecodeSink {
    void push(std::string token) override { text += token; }
    void finish() override {}
    std::string text;
  };
  Collector collector;
  std::vector<std::unique_ptr<DecodeSink>> states;  // the last step first
  DecodeSink& first() { return states.empty() ? collector : *states.back(); }
};

TextDecoder::Stream::Stream(const TextDecoder& decoder) : chain_(std::make_unique<Chain>()) {
  for (size_t i = decoder.steps_.size(); i-- > 0;) {
    chain_->states.push_back(decoder.steps_[i].start(chain_->first()));
  }
}
TextDecoder::Stream::~Stream() = default;
TextDecoder::Stream::Stream(Stream&&) noexcept = default;
TextDecoder::Stream& TextDecoder::Stream::operator=(Stream&&) noexcept = default;

void TextDecoder::Stream::push(std::string spelling) { chain_->first().push(std::move(spelling)); }
void TextDecoder::Stream::finish() { chain_->first().finish(); }
std::string TextDecoder::Stream::take() { return std::exchange(chain_->collector.text, {}); }

std::string TextDecoder::bytes_of(std::string spelling) const {
  for (const Step& step : steps_) spelling = step.middle(std::move(spelling));
  return spelling;
}

namespace decoders {
namespace {

// A step that changes each token by itself.
TextDecoder::Step token_by_token(const TextDecoder::Middle& change) {
  struct State final : DecodeSink {
    State(TextDecoder::Middle f, DecodeSink& sink) : change(std::move(f)), next(sink) {}
    void push(std::string token) override { next.push(change(std::move(token))); }
    void finish() override { next.finish(); }
    TextDecoder::Middle change;
    DecodeSink& next;
  };
  return {[change](DecodeSink& next) { return std::make_unique<State>(change, next); }, change};
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string replace_matches(const Regex& pattern, std::string_view by, const std::string& text) {
  if (text.empty()) return text;
  std::string replaced;
  size_t done = 0;
  Regex::Matches matches(pattern, text);
  while (const auto match = matches.next()) {
    replaced.append(text, done, match->begin - done).append(by);
    done = match->end;
  }
  return replaced.append(text, done);
}

std::string strip_ends(std::string text, std::string_view content, size_t start, size_t stop) {
  for (size_t i = 0; i < start && text.starts_with(content); ++i) text.erase(0, content.size());
  for (size_t i = 0; i < stop && text.ends_with(content); ++i) {
    text.erase(text.size() - content.size());
  }
  return text;
}

// Transformers' clean_up_tokenization_spaces, which the decoder WordPiece does as well.
std::string clean_up(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) text = replace_all(std::move(text), from, to);
  return text;
}

struct ByteLevelState final : DecodeSink {
  explicit ByteLevelState(DecodeSink& sink) : next(sink) {}
  void push(std::string token) override {
    const auto bytes = spelled_bytes(token);
    pending += bytes ? *bytes : token;
    hand_on(pending.size() - unfinished_bytes(pending));
  }
  void finish() override {
    hand_on(pending.size());
    next.finish();
  }
  void hand_on(size_t size) {
    std::string storage;
    if (size > 0) next.push(std::string(replace_invalid(pending.substr(0, size), storage)));
    pending.erase(0, size);
  }
  DecodeSink& next;
  std::string pending;
};

// A run of byte tokens is a text when all of it is valid; else every byte is U+FFFD.
struct ByteFallbackState final : DecodeSink {
  explicit ByteFallbackState(DecodeSink& sink) : next(sink) {}
  void push(std::string token) override {
    if (const auto byte = fallback_byte(token)) {
      run += static_cast<char>(*byte);
      return;
    }
    end_run();
    next.push(std::move(token));
  }
  void finish() override {
    end_run();
    next.finish();
  }
  void end_run() {
    if (run.empty()) return;
    if (is_valid_utf8(run)) {
      next.push(run);
    } else {
      for (size_t i = 0; i < run.size(); ++i) next.push(std::string(kReplacementCharacter));
    }
    run.clear();
  }
  DecodeSink& next;
  std::string run;
};

// Holds back what may be the end.
struct StripWholeState final : DecodeSink {
  StripWholeState(std::string c, size_t begin, size_t end, DecodeSink& sink)
      : content(std::move(c)), start(begin), stop(end), next(sink) {}
  void push(std::string token) override {
    pending += token;
    while (start > 0 && pending.starts_with(content)) {
      pending.erase(0, content.size());
      --start;
    }
    const bool open = start > 0 && std::string_view(content).starts_with(pending);
    if (pending.empty() || open) return;
    start = 0;
    size_t held = 0;
    while (held < stop && ends_before(held)) ++held;
    const size_t ready = pending.size() - held * content.size();
    if (ready > 0) next.push(pending.substr(0, ready));
    pending.erase(0, ready);
  }
  void finish() override {
    pending = strip_ends(std::move(pending), content, 0, stop);
    if (!pending.empty()) next.push(std::move(pending));
    next.finish();
  }
  bool ends_before(size_t held) const {
    return std::string_view(pending)
        .substr(0, pending.size() - held * content.size())
        .ends_with(content);
  }
  std::string content;
  size_t start, stop;
  DecodeSink& next;
  std::string pending;
};

// Steps for which the first token is another one than those behind it.
struct FirstAndRest final : DecodeSink {
  FirstAndRest(TextDecoder::Middle f, TextDecoder::Middle r, DecodeSink& sink)
      : first(std::move(f)), rest(std::move(r)), next(sink) {}
  void push(std::string token) override {
    next.push(std::exchange(at_first, false) ? first(std::move(token)) : rest(std::move(token)));
  }
  void finish() override { next.finish(); }
  TextDecoder::Middle first, rest;
  DecodeSink& next;
  bool at_first = true;
};

TextDecoder::Step first_and_rest(const TextDecoder::Middle& first,
                                 const TextDecoder::Middle& rest) {
  return {
      [first, rest](DecodeSink& next) { return std::make_unique<FirstAndRest>(first, rest, next); },
      rest};
}

// Holds back one token, since the last one differs.
struct BpeState final : DecodeSink {
  BpeState(std::string s, DecodeSink& sink) : suffix(std::move(s)), next(sink) {}
  void push(std::string token) override {
    if (held) next.push(replace_all(std::move(*held), suffix, " "));
    held = std::move(token);
  }
  void finish() override {
    if (held) next.push(replace_all(std::move(*held), suffix, ""));
    next.finish();
  }
  std::string suffix;
  DecodeSink& next;
  std::optional<std::string> held;
};

struct WholeState final : DecodeSink {
  explicit WholeState(std::unique_ptr<DecodeSink> s) : step(std::move(s)) {}
  void push(std::string token) override { text += token; }
  void finish() override {
    step->push(std::move(text));
    step->finish();
  }
  std::unique_ptr<DecodeSink> step;
  std::string text;
};

}  // namespace

TextDecoder::Step byte_level() {
  return {[](DecodeSink& next) { return std::make_unique<ByteLevelState>(next); },
          [](std::string token) { return spelled_bytes(token).value_or(token); }};
}

TextDecoder::Step replace(Regex pattern, std::string by) {
  return token_by_token([pattern = std::move(pattern), by = std::move(by)](std::string token) {
    return replace_matches(pattern, by, token);
  });
}

TextDecoder::Step byte_fallback() {
  return {[](DecodeSink& next) { return std::make_unique<ByteFallbackState>(next); },
          [](std::string token) {
            const auto byte = fallback_byte(token);
            return byte ? std::string(1, static_cast<char>(*byte)) : token;
          }};
}

TextDecoder::Step strip(std::string content, size_t start, size_t stop) {
  return token_by_token([content = std::move(content), start, stop](std::string token) {
    return strip_ends(std::move(token), content, start, stop);
  });
}

TextDecoder::Step strip_whole(std::string content, size_t start, size_t stop) {
  return {[content = std::move(content), start, stop](DecodeSink& next) {
            return std::make_unique<StripWholeState>(content, start, stop, next);
          },
          [](std::string token) { return token; }};
}

TextDecoder::Step metaspace(std::string replacement, bool drop_first) {
  const auto with = [replacement](std::string_view by) {
    return [replacement, by](std::string token) {
      return replace_all(std::move(token), replacement, by);
    };
  };
  return first_and_rest(with(drop_first ? "" : " "), with(" "));
}

TextDecoder::Step word_piece(std::string prefix, bool cleanup) {
  const auto first = [cleanup](std::string token) {
    return cleanup ? clean_up(std::move(token)) : token;
  };
  return first_and_rest(first, [first, prefix = std::move(prefix)](std::string token) {
    return first(token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token);
  });
}

TextDecoder::Step bpe(std::string suffix) {
  return {[suffix](DecodeSink& next) { return std::make_unique<BpeState>(suffix, next); },
          [suffix](std::string token) { return replace_all(std::move(token), suffix, " "); }};
}

TextDecoder::Step joined_by_spaces() {
  return first_and_rest([](std::string token) { return token; },
                        [](std::string token) { return " " + token; });
}

TextDecoder::Step whole(TextDecoder::Step step) {
  return {[start = std::move(step.start)](DecodeSink& next) {
            return std::make_unique<WholeState>(start(next));
          },
          std::move(step.middle)};
}

}  // namespace decoders
}  // namespace leash
