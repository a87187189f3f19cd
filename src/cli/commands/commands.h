// The commands besides the conversion: those around a finished file (docs/files.md), for one kind of model,
// for many files.
#pragma once

#include <string>
#include <vector>

#include "cli/options/option.h"

namespace ctq::cli {

// Their options, for pages.
const Table& assemble_table();
const Table& batch_table();
const Table& calibrate_table();
const Table& clip_g_table();
const Table& compare_table();
const Table& completion_table();
const Table& dequantize_table();
const Table& edit_table();
const Table& extract_lora_table();
const Table& fp8_table();
const Table& inspect_table();
const Table& migrate_table();
const Table& verify_table();

// args: without the command's word. They print results to standard output and return the exit code; they
// throw Error for everything that went wrong.
int run_assemble(const std::vector<std::string>& args);
int run_batch(const std::vector<std::string>& args);
int run_calibrate(const std::vector<std::string>& args);
int run_clip_g(const std::vector<std::string>& args);
int run_compare(const std::vector<std::string>& args);
int run_completion(const std::vector<std::string>& args);
int run_dequantize(const std::vector<std::string>& args);
int run_edit(const std::vector<std::string>& args);
int run_extract_lora(const std::vector<std::string>& args);
int run_fp8(const std::vector<std::string>& args);
int run_inspect(const std::vector<std::string>& args);
int run_migrate(const std::vector<std::string>& args);
int run_verify(const std::vector<std::string>& args);

}  // namespace ctq::cli
