// The functions that every chat template finds.
#include <fmt/format.h>

#include <ctime>
#include <map>

#include "models/jinja/repr.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

constexpr int64_t kLongestRange = 100'000;  // the sandbox's
constexpr int64_t kLargestBound = int64_t{1} << 40;

Value make_range(Runtime&, Arguments arguments) {
  if (!arguments.named.empty()) throw Failure("range() takes no keyword arguments");
  const auto values = bind_arguments("range", std::move(arguments), {"start", "stop", "step"}, 1);
  const auto number = [&](size_t i) {
    const int64_t value = int_argument("range", values[i]);
    if (std::abs(value) > kLargestBound) throw Failure("a bound of range() is too large");
    return value;
  };
  Range range;
  if (values[1].missing()) {
    range.stop = number(0);
  } else {
    range = {.start = number(0), .stop = number(1)};
    if (!values[2].missing()) range.step = number(2);
  }
  if (range.step == 0) throw Failure("range() arg 3 must not be zero");
  if (range.size() > kLongestRange) {
    throw Failure(fmt::format(
        "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kLongestRange));
  }
  return RangePtr(std::make_shared<Range>(range));
}

// dict(mapping or pairs, **more)
std::vector<std::pair<Value, Value>> dict_entries(Runtime& runtime, Arguments arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) throw Failure("dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (const Dict* dict = source.dict()) {
      entries = dict->entries;
    } else {
      for (const Value& entry : items_of(runtime, source)) {
        std::vector<Value> pair = items_of(runtime, entry);
        if (pair.size() != 2) throw Failure("dict() needs pairs");
        entries.emplace_back(std::move(pair[0]), std::move(pair[1]));
      }
    }
  }
  for (auto& [name, value] : arguments.named) entries.emplace_back(Value(name), value);
  return entries;
}

Value call_dict(Runtime& runtime, Arguments arguments) {
  return make_dict(runtime, dict_entries(runtime, std::move(arguments)));
}

Value make_namespace(Runtime& runtime, Arguments arguments) {
  auto space = std::make_shared<Space>();
  for (const auto& [key, value] : dict_entries(runtime, std::move(arguments))) {
    const Text* name = key.text();
    if (name == nullptr) throw Failure("attributes of a namespace have texts as names");
    if (name->bytes.starts_with('_')) {
      throw Failure(
          fmt::format("Chat templates cannot store underscore-prefixed attributes on a "
                      "namespace, but got '{}'. Please rename the attribute.",
                      name->bytes));
    }
    runtime.budget.charge(std::ssize(space->attributes) + 4);
    space->set(name->bytes, value);
  }
  runtime.spaces.push_back(space);
  return space;
}

Value raise_exception(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("raise_exception", std::move(arguments), {"message"}, 1);
  throw Raised(to_text(runtime, values[0]).bytes);
}

Value strftime_now(Runtime& runtime, Arguments arguments) {
  const auto values = bind_arguments("strftime_now", std::move(arguments), {"format"}, 1);
  const std::string& format = text_argument("strftime_now", values[0]).bytes;
  if (format.empty()) return make_text(runtime, Text());
  if (format.size() > 1000) throw Failure("strftime_now: the format is too long");
  if (format.find("%f") != format.npos) throw Failure("strftime_now: %f is not supported");
  const std::time_t seconds = std::chrono::system_clock::to_time_t(runtime.now);
  std::tm local{};
  localtime_r(&seconds, &local);
  std::string text(format.size() * 64 + 256, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &local));
  return make_text(runtime, std::move(text));
}

Value make_cycler(Runtime&, Arguments arguments) {
  if (!arguments.named.empty()) throw Failure("cycler() takes no keyword arguments");
  if (arguments.positional.empty()) throw Failure("at least one item has to be provided");
  const int nesting = nesting_around(arguments.positional);
  return std::make_shared<Cycler>(
      Cycler{.items = std::move(arguments.positional), .nesting = nesting});
}

Value make_joiner(Runtime& runtime, Arguments arguments) {
  auto values = bind_arguments("joiner", std::move(arguments), {"sep"}, 0);
  const Value separator = values[0].missing() ? make_text(runtime, Text(", ")) : values[0];
  return FunctionPtr(std::make_shared<Function>(
      Function{.name = "joiner",
               .call =
                   [separator, used = std::make_shared<bool>(false)](Runtime& r, Arguments) {
                     return std::exchange(*used, true) ? separator : make_text(r, Text());
                   },
               .nesting = nesting_of(separator) + 1}));
}

Value no_lipsum(Runtime&, Arguments) { throw Failure("the function lipsum is not supported"); }

Value function(const char* name, Value (*call)(Runtime&, Arguments)) {
  return FunctionPtr(std::make_shared<Function>(Function{.name = name, .call = call}));
}

}  // namespace

const Value* global(const std::string& name) {
  static const std::map<std::string, Value> kGlobals = {
      {"cycler", function("cycler", make_cycler)},
      {"dict", function("dict", call_dict)},
      {"joiner", function("joiner", make_joiner)},
      {"lipsum", function("lipsum", no_lipsum)},
      {"namespace", function("namespace", make_namespace)},
      {"raise_exception", function("raise_exception", raise_exception)},
      {"range", function("range", make_range)},
      {"strftime_now", function("strftime_now", strftime_now)}};
  const auto found = kGlobals.find(name);
  return found == kGlobals.end() ? nullptr : &found->second;
}

}  // namespace leash::jinja
