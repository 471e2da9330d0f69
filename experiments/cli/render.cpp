// leash render: conversations through a chat template.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/tokenizer/assistant_mask.h"
#include "rl/data/line_reader.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
using OrderedJson = nlohmann::ordered_json;

constexpr int kSomeRowsFailed = 3;

constexpr CommandHelp kRenderHelp{
    "render",
    "(--model MODEL | --template FILE [--bos TEXT] [--eos TEXT]) --input F.jsonl [--json]",
    "Renders conversations. The input has one object a line: {\"messages\": [\u2026], \"tools\": "
    "[\u2026]?,\n"
    "\"add_generation_prompt\": bool?}; every key of it is a variable of the template, and what is "
    "not\n"
    "there is undefined. Out, a line for each: {\"text\"}, with --model also \"ids\" and "
    "\"assistant\"\n"
    "(1 for each token that the assistant says), or {\"error\"}; then the exit code is 3. The "
    "model "
    "needs\n"
    "no weights: a folder or GGUF with a tokenizer is enough.",
    "  leash render --model smollm2 --input chats.jsonl --json\n"
    "  leash render --template chat_template.jinja --bos \"<s>\" --input chats.jsonl --json"};

po::options_description render_options() {
  po::options_description options("Options");
  auto add = options.add_options();
  add("model", po::value<std::string>()->value_name("MODEL"),
      "a GGUF file, a Hugging Face folder, or smollm2");
  add("template", po::value<std::string>()->value_name("FILE"), "a Jinja file, without a model");
  add("bos", po::value<std::string>()->value_name("TEXT"), "bos_token for --template");
  add("eos", po::value<std::string>()->value_name("TEXT"), "eos_token for --template");
  add("input", po::value<std::string>()->value_name("FILE"),
      "conversations as JSONL (-: standard input)");
  add("json", po::bool_switch(), "JSON lines (always so)");
  add_chat_options(options);
  return options;
}

void check_options(const po::variables_map& values) {
  OptionProblems problems;
  const bool model = values.count("model") > 0;
  problems.require(values.count("input") > 0, "--input is missing");
  problems.require(model != (values.count("template") > 0),
                   "one of --model and --template has to be given");
  for (const char* name : {"bos", "eos"}) {
    problems.require(!model || values.count(name) == 0,
                     fmt::format("--{} goes with --template; a model has its own", name));
  }
  problems.require(model || values.count("chat-template") == 0,
                   "--chat-template goes with --model; --template is one already");
  problems.check();
}

// What rows are rendered with: a model's tokenizer, or a template alone.
class Renderer {
 public:
  explicit Renderer(const po::variables_map& values) {
    ChatConfig config = chat_config_of(values);
    if (values.count("model") > 0) {
      tokenizer_ = load_tokenizer(values);
      format_ = std::make_shared<const ChatFormat>(tokenizer_->chat());
    } else {
      config.chat_template = values["template"].as<std::string>();
      ChatFormat::NamedTokens tokens;
      if (const auto bos = given<std::string>(values, "bos"))
        tokens.emplace_back("bos_token", *bos);
      if (const auto eos = given<std::string>(values, "eos"))
        tokens.emplace_back("eos_token", *eos);
      format_ = std::make_shared<const ChatFormat>(read_chat_format(config, std::move(tokens)));
    }
    format_->check();
    if (!config.chat_template_kwargs.text.empty()) {
      kwargs_ = parse_ordered_json(config.chat_template_kwargs.text, "--chat-template-kwargs");
    }
  }

  OrderedJson render(const std::string& line, const std::string& place) const {
    OrderedJson out;
    try {
      const OrderedJson row = row_of(line, place);
      const RenderedChat chat = format_->render_row(row, format_->users());
      out["text"] = chat.text;
      if (tokenizer_) {
        const MaskedChat masked = mask_of_row(*tokenizer_, row, chat);
        out["ids"] = masked.ids;
        out["assistant"] = masked.assistant;
      }
    } catch (const FormatError& error) {
      out = {{"error", error.what()}};
    }
    return out;
  }

 private:
  // The row's keys over those of --chat-template-kwargs, under those of its own.
  OrderedJson row_of(const std::string& line, const std::string& place) const {
    OrderedJson row = parse_ordered_json(line, place);
    if (!row.is_object()) throw FormatError(place + ": is not a JSON object");
    OrderedJson variables = kwargs_.is_object() ? kwargs_ : OrderedJson::object();
    for (const auto& [key, value] : row.items()) {
      if (key != "chat_template_kwargs") variables[key] = value;
    }
    if (const auto own = row.find("chat_template_kwargs"); own != row.end() && own->is_object()) {
      for (const auto& [key, value] : own->items()) variables[key] = value;
    }
    return variables;
  }

  std::optional<Tokenizer> tokenizer_;
  std::shared_ptr<const ChatFormat> format_;
  OrderedJson kwargs_;
};

}  // namespace

int render(const Arguments& args) {
  const auto values = parse_options(kRenderHelp, render_options(), {}, args);
  if (!values) return 0;
  check_options(*values);
  const Renderer renderer(*values);
  LineReader lines = open_lines((*values)["input"].as<std::string>());
  bool failed = false;
  for (std::string line; lines.next(line);) {
    const OrderedJson out =
        renderer.render(line, fmt::format("{}:{}", lines.name(), lines.number()));
    failed = failed || out.contains("error");
    print_json_line(out);
  }
  return failed ? kSomeRowsFailed : 0;
}

}  // namespace leash::cli
