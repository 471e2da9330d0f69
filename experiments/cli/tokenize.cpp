// leash tokenize: token ids of lines on standard input, or of the texts in a JSONL file.
#include <nlohmann/json.hpp>
#include <string>

#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "models/errors.h"
#include "rl/data/jsonl.h"
#include "rl/data/line_reader.h"

namespace leash::cli {

namespace {

constexpr CommandHelp kTokenizeHelp{
    "tokenize", "--model MODEL [--input F.jsonl] [--json] [<FILE]",
    "Prints {\"ids\": […]} for each line of standard input, or for each {\"text\": \"…\"} of a "
    "JSONL "
    "file.\n"
    "Lines end at \\n only, empty lines of text count, and no tokens are added; special tokens "
    "inside a text\n"
    "are recognised. MODEL needs no weights: a folder with a tokenizer.json or a SentencePiece\n"
    "tokenizer.model alone, or a GGUF that holds a vocabulary alone, is enough.",
    "  echo \"Hello there\" | leash tokenize --model smollm2\n"
    "  leash tokenize --model folder --input texts.jsonl --json"};

void print_ids(const Tokenizer& tokenizer, std::string_view text) {
  print_json_line({{"ids", tokenizer.encode(text)}});
}

void tokenize_records(const Tokenizer& tokenizer, const std::string& input) {
  LineReader lines = open_lines(input);
  for_each_json_line(lines, {.record = {"text"}}, EmptyLines::refused,
                     [&](const nlohmann::json& record, int64_t) {
                       const auto text = record.find("text");
                       if (text == record.end() || !text->is_string()) {
                         throw FormatError("needs a \"text\"");
                       }
                       print_ids(tokenizer, text->get_ref<const std::string&>());
                     });
}

}  // namespace

int tokenize(const Arguments& args) {
  namespace po = boost::program_options;
  po::options_description options("Options");
  options.add_options()("model", po::value<std::string>()->value_name("MODEL"),
                        "a GGUF file, a Hugging Face folder, or smollm2");
  options.add_options()("input", po::value<std::string>()->value_name("FILE"),
                        "texts as JSONL (-: standard input)");
  options.add_options()("json", po::bool_switch(), "JSON lines (always so)");
  const auto values = parse_options(kTokenizeHelp, options, {}, args);
  if (!values) return 0;

  const Tokenizer tokenizer = load_tokenizer(*values);
  if (const auto input = given<std::string>(*values, "input")) {
    tokenize_records(tokenizer, *input);
    return 0;
  }
  // A carriage return stays; nothing but an empty end is passed over.
  LineReader lines = LineReader::standard_input();
  for (std::string line; lines.next(line);) print_ids(tokenizer, line);
  return 0;
}

}  // namespace leash::cli
