#include "base/version.h"

#ifndef CTQ_VERSION
#define CTQ_VERSION "0.1.0"
#endif

namespace ctq {

const char* version() { return CTQ_VERSION; }

}  // namespace ctq
