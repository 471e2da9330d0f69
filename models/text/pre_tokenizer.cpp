// Steps that only split are Splitters; the others write new texts.
#include "models/text/pre_tokenizer.h"

#include <algorithm>

#include "models/text/byte_alphabet.h"
#include "models/text/char_classes.h"
#include "models/text/unicode_ranges.h"
#include "models/text/utf8.h"

namespace leash {

void PreTokenizer::add_split(Splitter splitter) {
  add([splitter = std::move(splitter)](const TextPiece& piece, Sink& sink) {
    thread_local std::vector<std::string_view> parts;
    parts.clear();
    split_text(splitter, piece.text, parts);
    for (const std::string_view part : parts) {
      sink.pieces.push_back({part, piece.first && part.data() == piece.text.data()});
    }
  });
}

std::vector<TextPiece> PreTokenizer::split(const TextPiece& text,
                                           std::deque<std::string>& storage) const {
  std::vector<TextPiece> pieces;
  if (!text.text.empty()) pieces.push_back(text);
  std::vector<TextPiece> next;
  for (const Step& step : steps_) {
    next.clear();
    Sink sink{next, storage};
    for (const TextPiece& piece : pieces) step(piece, sink);
    pieces.swap(next);
  }
  return pieces;
}

namespace pre_tokenizers {
namespace {

enum class Run { space, word, other };

Run run_of(char32_t c) {
  if (is_word_character(c)) return Run::word;
  return is_white_space(c) ? Run::space : Run::other;
}

// Splits at every `replacement`, which stays at the front of what follows it.
void split_before(std::string_view text, std::string_view replacement, bool first,
                  PreTokenizer::Sink& sink) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t from =
        begin + (text.substr(begin).starts_with(replacement) ? replacement.size() : 0);
    const size_t end = std::min(text.find(replacement, from), text.size());
    sink.pieces.push_back({text.substr(begin, end - begin), first && begin == 0});
    begin = end;
  }
}

}  // namespace

Splitter gpt2() {
  return {Regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)")};
}

Splitter digits(bool individual) {
  return {&is_numeric, individual ? SplitBehavior::isolated : SplitBehavior::contiguous};
}

Splitter punctuation(SplitBehavior behavior) { return {&is_punctuation, behavior}; }

Splitter white_space() { return {&is_white_space, SplitBehavior::removed}; }

PreTokenizer::Step words() {
  return [](const TextPiece& piece, PreTokenizer::Sink& sink) {
    size_t begin = 0;
    Run run = Run::space;
    const auto end_run = [&](size_t end) {
      if (run != Run::space && end > begin) {
        sink.pieces.push_back({piece.text.substr(begin, end - begin), piece.first && begin == 0});
      }
      begin = end;
    };
    for_each_char(piece.text, [&](char32_t c, std::string_view bytes) {
      if (run_of(c) != run) end_run(static_cast<size_t>(bytes.data() - piece.text.data()));
      run = run_of(c);
    });
    end_run(piece.text.size());
  };
}

PreTokenizer::Step prefix_space() {
  return [](const TextPiece& piece, PreTokenizer::Sink& sink) {
    const bool there = piece.text.starts_with(' ');
    sink.pieces.push_back(
        {there ? piece.text : sink.store(std::string(" ").append(piece.text)), piece.first});
  };
}

PreTokenizer::Step byte_level() {
  return [](const TextPiece& piece, PreTokenizer::Sink& sink) {
    sink.pieces.push_back({sink.store(spelling_of_bytes(piece.text)), piece.first});
  };
}

PreTokenizer::Step fixed_length(size_t characters) {
  return [characters](const TextPiece& piece, PreTokenizer::Sink& sink) {
    size_t begin = 0, end = 0, count = 0;
    while (begin < piece.text.size()) {
      end += first_char(piece.text.substr(end)).length;
      if (++count < characters && end < piece.text.size()) continue;
      sink.pieces.push_back({piece.text.substr(begin, end - begin), piece.first && begin == 0});
      begin = end;
      count = 0;
    }
  };
}

PreTokenizer::Step metaspace(const Metaspace& options) {
  return [options](const TextPiece& piece, PreTokenizer::Sink& sink) {
    std::string text;
    for (const char c : piece.text) {
      if (c == ' ') {
        text += options.replacement;
      } else {
        text += c;
      }
    }
    const bool prepend = options.prepend == Metaspace::Prepend::always ||
                         (options.prepend == Metaspace::Prepend::first && piece.first);
    if (prepend && !text.starts_with(options.replacement)) text.insert(0, options.replacement);
    const std::string_view stored = sink.store(std::move(text));
    if (options.split) {
      split_before(stored, options.replacement, piece.first, sink);
    } else {
      sink.pieces.push_back({stored, piece.first});
    }
  };
}

}  // namespace pre_tokenizers
}  // namespace leash
