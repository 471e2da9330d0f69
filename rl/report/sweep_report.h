// report.html of a sweep: its runs beside each other, on one offline page.
#pragma once

#include <filesystem>
#include <string>

namespace leash {

// Reads sweep.json and what the runs' folders hold (metrics.jsonl, evaluations/, samples.jsonl;
// what is missing is left out): curves with 95 % bands over the seeds of a setting, reward against
// exact KL over all evaluated snapshots on the √KL scale (Gao et al. 2023, arXiv:2210.10760), each
// setting's values against the result, the best snapshot within the recipe's KL bound with what
// choosing adds, and answers side by side. FormatError.
std::string sweep_report_html(const std::filesystem::path& folder);

// Writes report.html there and returns its path.
std::filesystem::path write_sweep_report(const std::filesystem::path& folder);

}  // namespace leash
