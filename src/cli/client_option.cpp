#include "client_option.h"

#include "ctq/base/error.h"

namespace ctq::cli {

client::Client read_client(const Arguments& arguments) {
  const std::string& text = arguments.text("client");
  try {
    return text.empty() ? client::Client{} : client::parse_client(text);
  } catch (const Error& error) {
    fail(ErrorCode::kUsage, "argument --client: {}", error.what());
  }
}

}  // namespace ctq::cli
