// The commands around a finished file (docs/files.md), and those for one kind of model.
#pragma once

#include <string>
#include <vector>

namespace ctq::cli {

// args: without the command's word. They print results to standard output and return the exit code; they
// throw Error for everything that went wrong.
int run_calibrate(const std::vector<std::string>& args);
int run_inspect(const std::vector<std::string>& args);
int run_verify(const std::vector<std::string>& args);
int run_compare(const std::vector<std::string>& args);
int run_dequantize(const std::vector<std::string>& args);
int run_edit(const std::vector<std::string>& args);
int run_migrate(const std::vector<std::string>& args);
int run_extract_lora(const std::vector<std::string>& args);
int run_assemble(const std::vector<std::string>& args);
int run_clip_g(const std::vector<std::string>& args);
int run_fp8(const std::vector<std::string>& args);

}  // namespace ctq::cli
