"""Every test case is run by ctest: test_names.py SOURCE_DIR

CMake cuts the list of test cases at semicolons, and Catch2 takes a backslash for an escape. What is left of such a name
matches no test case, and a run of none passes.
"""
import pathlib
import re
import sys

NAME = re.compile(r'TEST_CASE\(\s*"((?:[^"\\]|\\.)*)"')


def main():
    root = pathlib.Path(sys.argv[1])
    names = [(path.relative_to(root), name) for path in sorted((root / "tests").rglob("*.cpp"))
             for name in NAME.findall(path.read_text())]
    if len(names) < 500:
        sys.exit(f"{root}: {len(names)} test cases found; is it the project's folder?")
    found = [f"{path}: '{name}' holds '{sign}'" for path, name in names for sign in (";", "\\") if sign in name]
    print("\n".join(found) or f"{len(names)} test cases")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
