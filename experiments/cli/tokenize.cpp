// leash tokenize: token ids of lines on standard input.
#include <nlohmann/json.hpp>
#include <string>

#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "rl/data/line_reader.h"

namespace leash::cli {

int tokenize(const Arguments& args) {
  namespace po = boost::program_options;
  constexpr CommandHelp kHelp{
      "tokenize", "--model MODEL [--json] <FILE",
      "Prints {\"ids\": […]} for each line of standard input. Lines end at \\n only, empty lines "
      "count,\n"
      "and no tokens are added; special tokens inside a line are recognised.",
      "  echo \"Hello there\" | leash tokenize --model smollm2"};
  po::options_description options("Options");
  options.add_options()("model", po::value<std::string>()->value_name("MODEL"),
                        "a GGUF file, a Hugging Face folder, or smollm2");
  options.add_options()("json", po::bool_switch(), "JSON lines (always so)");
  const auto values = parse_options(kHelp, options, {}, args);
  if (!values) return 0;

  const Tokenizer tokenizer = load_tokenizer(*values);
  // A carriage return stays; nothing but an empty end is passed over.
  LineReader lines = LineReader::standard_input();
  for (std::string line; lines.next(line);) {
    print_json_line({{"ids", tokenizer.encode(line)}});
  }
  return 0;
}

}  // namespace leash::cli
