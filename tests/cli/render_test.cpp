// leash render: rows in, texts or errors out.
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/workspace.h"
#include "tests/support/files.h"

namespace leash::testing {
namespace {

using ::testing::HasSubstr;

std::vector<nlohmann::json> rows_of(const std::string& out) {
  std::vector<nlohmann::json> rows;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

TEST(Render, ATemplateAloneRendersRowsAndNamesErrors) {
  const ScratchFolder folder;
  write_text(folder / "t.jinja",
             "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content | tojson }}\n"
             "{% endfor %}{{ tools is defined }}{{ extra }}{% if messages|length > 1 %}"
             "{{ raise_exception('too many') }}{% endif %}");
  const std::string message = R"({"role": "user", "content": "<é>"})";
  write_text(folder / "in.jsonl", "{\"messages\": [" + message +
                                      "], \"extra\": 5}\n{\"messages\": [" + message + "," +
                                      message + "]}\nnonsense\n");
  const Ended ended = run_leash({"render", "--template", (folder / "t.jinja").string(), "--bos",
                                 "<s>", "--input", (folder / "in.jsonl").string(), "--json"});
  EXPECT_EQ(ended.code, 3) << ended.err;
  const auto rows = rows_of(ended.out);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0], (nlohmann::json{{"text", "<s>user: \"<é>\"\nFalse5"}}));
  EXPECT_EQ(rows[1], (nlohmann::json{{"error", "too many"}}));
  EXPECT_THAT(rows[2]["error"].get<std::string>(), HasSubstr("is not valid JSON"));
}

TEST(Render, WithAModelThereAreIdsAndAMaskOfSmolLM2) {
  const ScratchFolder folder;
  write_text(folder / "in.jsonl",
             R"({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": )"
             R"("Yes"}]})"
             "\n");
  const Ended ended = run_leash(
      {"render", "--model", "smollm2", "--input", (folder / "in.jsonl").string(), "--json"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  const auto rows = rows_of(ended.out);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["ids"].size(), rows[0]["assistant"].size());
  EXPECT_THAT(rows[0]["text"].get<std::string>(), HasSubstr("Yes<|im_end|>\n"));
  int said = 0;
  for (const auto& one : rows[0]["assistant"]) said += one.get<int>();
  EXPECT_EQ(said, 3);  // Yes, <|im_end|>, a line break
}

}  // namespace
}  // namespace leash::testing
