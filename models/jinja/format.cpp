#include "models/jinja/format.h"

#include <fmt/format.h>

#include <cmath>

#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr int64_t kWidestField = 100'000;

// Hands the values of a printf-style format over, one after the other or by name.
class PercentValues {
 public:
  explicit PercentValues(const Value& values) : values_(values) {
    const Sequence* sequence = values.sequence();
    tuple_ = sequence != nullptr && sequence->tuple ? sequence : nullptr;
    // A list may be indexed, so that Python takes it for a mapping.
    mapping_ = tuple_ == nullptr && values.text() == nullptr &&
               (sequence != nullptr || values.dict() != nullptr || values.is<RangePtr>());
  }
  Value next() {
    if (named_) return std::move(value_);
    const size_t size = tuple_ != nullptr ? tuple_->items.size() : 1;
    if (taken_ >= size) throw Failure("not enough arguments for format string");
    ++taken_;
    return tuple_ != nullptr ? tuple_->items[taken_ - 1] : values_;
  }
  void name(const std::string& key) {
    const Dict* dict = values_.dict();
    const Value* found = dict != nullptr ? dict->find(key) : nullptr;
    if (found == nullptr) throw Failure(fmt::format("'{}': a format needs a mapping with it", key));
    value_ = *found;
    named_ = true;
  }
  void unname() { named_ = false; }
  void check_all_taken() const {
    const size_t size = tuple_ != nullptr ? tuple_->items.size() : 1;
    if (taken_ < size && !mapping_) {
      throw Failure("not all arguments converted during string formatting");
    }
  }

 private:
  const Value& values_;
  const Sequence* tuple_ = nullptr;
  bool mapping_ = false;
  bool named_ = false;
  Value value_;
  size_t taken_ = 0;
};

int64_t percent_integer(const Value& value, char type) {
  if (const auto whole = value.integer()) return *whole;
  const auto* number = value.get<double>();
  const bool decimal = type == 'd' || type == 'i' || type == 'u';
  if (number == nullptr || !decimal || !(std::abs(*number) < 0x1p63)) {
    throw Failure(fmt::format("%{} format: a number is required, not {}", type, type_name(value)));
  }
  return static_cast<int64_t>(*number);
}

double percent_double(const Value& value) {
  if (const auto whole = value.integer()) return static_cast<double>(*whole);
  if (const auto* number = value.get<double>()) return *number;
  throw Failure(fmt::format("must be real number, not {}", type_name(value)));
}

// One %-field, from behind its sign on.
class PercentField {
 public:
  PercentField(Runtime& runtime, std::string_view format, size_t& at, PercentValues& values)
      : runtime_(runtime), format_(format), at_(at), values_(values) {}

  Text text() {
    read_name();
    read_flags();
    spec_.width = read_count();
    if (spec_.width < 0) {
      spec_.align = '<';
      spec_.width = -spec_.width;
    }
    if (peek() == '.') {
      ++at_;
      spec_.precision = std::max<int64_t>(read_count(), 0);
    }
    while (peek() == 'h' || peek() == 'l' || peek() == 'L') ++at_;
    const char type = peek();
    if (type == 0) throw Failure("incomplete format");
    ++at_;
    Text result = type == '%' ? Text("%") : converted(type, values_.next());
    values_.unname();
    return result;
  }

 private:
  char peek() const { return at_ < format_.size() ? format_[at_] : '\0'; }

  void read_name() {
    if (peek() != '(') return;
    size_t end = ++at_;
    for (int open = 1; open > 0; ++end) {
      if (end >= format_.size()) throw Failure("incomplete format key");
      open += format_[end] == '(' ? 1 : format_[end] == ')' ? -1 : 0;
    }
    values_.name(std::string(format_.substr(at_, end - 1 - at_)));
    at_ = end;
  }

  void read_flags() {
    for (;; ++at_) {
      switch (peek()) {
        case '-':
          spec_.align = '<';
          break;
        case '+':
          spec_.sign = '+';
          break;
        case ' ':
          if (spec_.sign == '-') spec_.sign = ' ';
          break;
        case '#':
          spec_.alternate = true;
          break;
        case '0':
          spec_.zero = true;
          break;
        default:
          return;
      }
    }
  }

  int64_t read_count() {
    if (peek() == '*') {
      ++at_;
      const Value value = values_.next();
      if (!value.integer()) throw Failure("* wants int");
      if (std::abs(*value.integer()) > kWidestField) throw Failure("a format is too wide");
      return *value.integer();
    }
    int64_t count = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      count = count * 10 + (peek() - '0');
      if (count > kWidestField) throw Failure("a format is too wide");
    }
    return count;
  }

  Text converted(char type, const Value& value) {
    switch (type) {
      case 's':
      case 'r': {
        plain();
        return format_text(runtime_, type == 's' ? to_text(runtime_, value) : repr(runtime_, value),
                           spec_);
      }
      case 'c': {
        plain();
        if (const Text* text = value.text(); text != nullptr && text->length == 1) {
          spec_.precision = -1;
          return format_text(runtime_, *text, spec_);
        }
        FormatSpec one;
        one.type = 'c';
        const Text text = format_integer(runtime_, percent_integer(value, 'c'), one);
        spec_.precision = -1;
        return format_text(runtime_, text, spec_);
      }
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X': {
        const int64_t number = percent_integer(value, type);
        spec_.type = type == 'i' || type == 'u' ? 'd' : type;
        return integer(number);
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        const double number = percent_double(value);
        spec_.type = type;
        zeros();
        return format_number(runtime_, number, spec_);
      }
      default:
        throw Failure(fmt::format("unsupported format character '{}'", type));
    }
  }

  // Texts stand at the right, without the flags of numbers.
  void plain() {
    spec_.sign = '-';
    spec_.alternate = spec_.zero = false;
    if (spec_.align == 0) spec_.align = '>';
  }

  void zeros() {
    if (spec_.align == '<') spec_.zero = false;
    if (spec_.zero) spec_.fill = "0";
  }

  // The precision is a least number of digits.
  Text integer(int64_t number) {
    zeros();
    const int64_t digits = std::exchange(spec_.precision, -1);
    if (digits < 0) return format_integer(runtime_, number, spec_);
    FormatSpec bare = spec_;
    bare.width = digits + (number < 0 || spec_.sign != '-' ? 1 : 0) +
                 (spec_.alternate && spec_.type != 'd' ? 2 : 0);
    bare.zero = true;
    bare.align = 0;
    bare.fill = "0";
    const Text text = format_integer(runtime_, number, bare);
    if (spec_.zero && spec_.width > text.length) {
      bare.width = spec_.width;
      return format_integer(runtime_, number, bare);
    }
    FormatSpec outer;
    outer.width = spec_.width;
    outer.align = spec_.align == '<' ? '<' : '>';
    return format_text(runtime_, text, outer);
  }

  Runtime& runtime_;
  std::string_view format_;
  size_t& at_;
  PercentValues& values_;
  FormatSpec spec_;
};

}  // namespace

Value format_percent(Runtime& runtime, const Text& format, const Value& values) {
  if (format.markup) throw Failure("% on a safe text is not supported");
  PercentValues source(values);
  TextBuilder out;
  size_t done = 0;
  const std::string& bytes = format.bytes;
  for (size_t at = bytes.find('%'); at != bytes.npos; at = bytes.find('%', at)) {
    out.add(format, done, at++);
    out.add(PercentField(runtime, bytes, at, source).text());
    done = at;
  }
  out.add(format, done, bytes.size());
  source.check_all_taken();
  return make_text(runtime, out.finish());
}

}  // namespace leash::jinja
