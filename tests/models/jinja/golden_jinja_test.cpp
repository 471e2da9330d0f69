// Templates against jinja2 as transformers sets it up (tests/golden/make_jinja.py).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "models/jinja/json_value.h"
#include "models/jinja/template.h"

namespace leash::jinja {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson golden(const std::string& name) {
  std::ifstream file(std::string(LEASH_SOURCE_DIR) + "/tests/golden/jinja/" + name);
  return OrderedJson::parse(file);
}

struct Outcome {
  std::string text;
  std::vector<TextRange> generated;
  std::string error;
};

Outcome render(const std::string& source, const OrderedJson& variables, int64_t now) {
  setenv("TZ", "UTC", 1);
  tzset();
  std::map<std::string, Value> values;
  for (const auto& [name, value] : variables.items()) {
    values[name] = from_json(value, Origin::own);
  }
  try {
    const Rendered rendered = Template(source).render(
        [&](const std::string& name) {
          const auto found = values.find(name);
          return found == values.end() ? Value() : found->second;
        },
        std::chrono::system_clock::from_time_t(now));
    return {.text = rendered.text, .generated = rendered.generated, .error = ""};
  } catch (const TemplateError& error) {
    return {.text = "", .generated = {}, .error = error.what()};
  }
}

OrderedJson pairs_of(const std::vector<TextRange>& ranges) {
  OrderedJson pairs = OrderedJson::array();
  for (const TextRange& range : ranges) pairs.push_back({range.begin, range.end});
  return pairs;
}

// What Python does and is refused here, by a part of our message.
bool is_refusal(const std::string& error) {
  for (const char* part : {"64 bits", "not supported", "outside ASCII", "complex numbers"}) {
    if (error.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(GoldenJinja, SmallTemplatesAreWhatJinja2MakesOfThem) {
  const OrderedJson file = golden("cases.json");
  ASSERT_GE(file["cases"].size(), 1000U);
  int refused = 0;
  for (const OrderedJson& row : file["cases"]) {
    const std::string source = row["template"];
    const Outcome outcome = render(source, file["variables"], file["now"]);
    if (!row.contains("error") && is_refusal(outcome.error)) {
      ++refused;
      continue;
    }
    EXPECT_EQ(!outcome.error.empty(), row.contains("error")) << source.substr(0, 300) << "\n"
                                                             << outcome.error;
    if (row.contains("error") || !outcome.error.empty()) continue;
    EXPECT_EQ(outcome.text, row["text"].get<std::string>()) << source;
    EXPECT_EQ(pairs_of(outcome.generated), row.value("generated", OrderedJson::array())) << source;
  }
  EXPECT_LE(refused, 12);
}

std::string fnv(const std::string& bytes) {
  uint64_t value = 0xCBF29CE484222325;
  for (const char c : bytes) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return fmt::format("{:016x}", value);
}

TEST(GoldenJinja, PublishedTemplatesRenderIdentically) {
  const OrderedJson file = golden("templates.json");
  ASSERT_GE(file["templates"].size(), 50U);
  for (const auto& [name, row] : file["templates"].items()) {
    std::istringstream results(row["results"].get<std::string>());
    for (const OrderedJson& chat : file["chats"]) {
      for (const OrderedJson& extra : file["extras"]) {
        OrderedJson variables = {{"bos_token", "<s>"},   {"eos_token", "</s>"},
                                 {"messages", chat},     {"tools", nullptr},
                                 {"documents", nullptr}, {"add_generation_prompt", false}};
        for (const auto& [key, value] : extra.items()) variables[key] = value;
        std::string expected;
        results >> expected;
        const Outcome outcome = render(row["template"], variables, file["now"]);
        const std::string got = outcome.error.empty()
                                    ? fnv(outcome.text + pairs_of(outcome.generated).dump())
                                    : "error";
        EXPECT_EQ(got, expected) << name << " " << chat.dump() << " " << extra.dump() << "\n"
                                 << outcome.text << outcome.error;
      }
    }
  }
}

TEST(GoldenJinja, UnknownNamesAreErrorsWithTheirLine) {
  const auto error = [](const std::string& source) { return render(source, {}, 0).error; };
  EXPECT_THAT(error("\n{{ 1|from_json }}"), ::testing::HasSubstr("line 2: No filter named"));
  EXPECT_THAT(error("\n\n{{ 1 is pretty }}"), ::testing::HasSubstr("line 3: No test named"));
  EXPECT_THAT(error("{{ 'a'.\nfoo() }}"), ::testing::HasSubstr("has no attribute 'foo'"));
  EXPECT_THAT(error("a\n{{ nothing() }}"), ::testing::HasSubstr("line 2: 'nothing' is undefined"));
  EXPECT_THAT(error("{% for %}"), ::testing::HasSubstr("line 1"));
  EXPECT_EQ(error("{{ raise_exception('so ' ~ 1) }}"), "so 1");
}

// Whatever a template does, it ends within two seconds of this process's time.
TEST(GoldenJinja, HostileTemplatesEnd) {
  for (const char* source :
       {"{{ 'a' * 10**9 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}"
        "{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}"
        "{% endfor %}",
        "{% set ns = namespace() %}{% set ns.x = [1]|map('string') %}{% for i in range(99999) %}"
        "{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ ('a' * 100000).split('a') | join('b' * 100000) }}",
        "{% set x = 'ab' * 400000 %}{% for i in range(99999) %}{{ x.count('ba') }}{% endfor %}"}) {
    const std::clock_t start = std::clock();
    EXPECT_NE(render(source, {}, 0).error, "") << source;
    EXPECT_LT(std::clock() - start, 2 * CLOCKS_PER_SEC) << source;
  }
}

}  // namespace
}  // namespace leash::jinja
