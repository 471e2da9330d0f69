// One function per command: it gets what stands behind the command's name and returns the exit
// code. Errors leave it as exceptions; app.cpp turns them into messages and codes.
#pragma once

#include <string>
#include <vector>

namespace leash::cli {

using Arguments = std::vector<std::string>;

int train(const Arguments& args);
int sweep(const Arguments& args);
int generate(const Arguments& args);
int label_command(const Arguments& args);
int chat(const Arguments& args);
int score(const Arguments& args);
int tokenize(const Arguments& args);
int render(const Arguments& args);
int kl_report(const Arguments& args);
int evaluate(const Arguments& args);
int reward_test(const Arguments& args);
int config(const Arguments& args);
int plan(const Arguments& args);
int serve(const Arguments& args);
int doctor(const Arguments& args);
int init(const Arguments& args);
int completion(const Arguments& args);
int man(const Arguments& args);
int export_command(const Arguments& args);

}  // namespace leash::cli
