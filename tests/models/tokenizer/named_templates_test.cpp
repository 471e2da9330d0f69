// Checkpoints with a template for conversations with tools.
#include "models/tokenizer/named_templates.h"

#include <gtest/gtest.h>

#include <string>

#include "models/errors.h"
#include "models/tokenizer/chat_template.h"

namespace leash {
namespace {

std::string rendered(const std::string& text, const nlohmann::ordered_json& row) {
  return ChatFormat(text, {}).render_row(row).text;
}

TEST(NamedTemplates, ToolsChoose) {
  // Line breaks and spaces at the borders are the templates' own.
  const std::string text =
      joined_templates({{"default", "\n  plain {{ messages[0].content }}\n\n"},
                        {"tool_use", "  {% if tools %}has{% endif %} {{ tools | length }}\n  \n"},
                        {"rag", "never"}});
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "x"}}};
  EXPECT_EQ(rendered(text, {{"messages", messages}}), "\n  plain x\n");
  EXPECT_EQ(rendered(text, {{"messages", messages}, {"tools", nullptr}}), "\n  plain x\n");
  EXPECT_EQ(rendered(text, {{"messages", messages}, {"tools", {1, 2}}}), "  has 2\n  ");
  // As transformers: no tools are tools, too.
  EXPECT_EQ(rendered(text, {{"messages", messages}, {"tools", nlohmann::ordered_json::array()}}),
            "   0\n  ");
}

TEST(NamedTemplates, OneAloneIsItself) {
  EXPECT_EQ(joined_templates({}), "");
  EXPECT_EQ(joined_templates({{"default", "a\n"}, {"rag", "b"}}), "a\n");
}

TEST(NamedTemplates, WithoutADefaultPlainConversationsRaise) {
  const nlohmann::ordered_json row = {{"messages", nlohmann::ordered_json::array()}};
  for (const char* name : {"tool_use", "rag"}) {
    try {
      rendered(joined_templates({{name, "x"}}), row);
      ADD_FAILURE() << name;
    } catch (const FormatError& error) {
      EXPECT_NE(std::string(error.what()).find("is named default"), std::string::npos);
    }
  }
  auto tools = row;
  tools["tools"] = {1};
  EXPECT_EQ(rendered(joined_templates({{"tool_use", "x"}}), tools), "x");
}

}  // namespace
}  // namespace leash
