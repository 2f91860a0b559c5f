#include "cli/cli.h"

int main(int argc, char** argv) { return mlxd::run_command_line(argc, argv); }
