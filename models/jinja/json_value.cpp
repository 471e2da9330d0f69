#include "models/jinja/json_value.h"

#include "models/errors.h"
#include "models/jinja/runtime.h"

namespace leash::jinja {
namespace {

Value text_from(const std::string& bytes, Origin origin) {
  Text text(bytes);
  if (origin == Origin::foreign && !bytes.empty()) text.foreign = {{0, bytes.size()}};
  return Value(std::move(text));
}

Value convert(Runtime& runtime, const nlohmann::ordered_json& json, Origin origin) {
  using Kind = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case Kind::boolean:
      return json.get<bool>();
    case Kind::number_integer:
      return json.get<int64_t>();
    case Kind::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) {
        throw FormatError("the integer " + json.dump() + " does not fit 64 bits");
      }
      return json.get<int64_t>();
    case Kind::number_float:
      return json.get<double>();
    case Kind::string:
      return text_from(json.get_ref<const std::string&>(), origin);
    case Kind::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(convert(runtime, item, origin));
      return make_list(runtime, std::move(items));
    }
    case Kind::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, value] : json.items()) {
        entries.emplace_back(Value(key), convert(runtime, value, origin));
      }
      return make_dict(runtime, std::move(entries));
    }
    default:
      return None{};
  }
}

}  // namespace

Value from_json(const nlohmann::ordered_json& json, Origin origin) {
  Runtime runtime;
  try {
    return convert(runtime, json, origin);
  } catch (const Failure& failure) {
    throw FormatError(std::string("too much for a chat template: ") + failure.what());
  }
}

}  // namespace leash::jinja
