/* The smallest payload: what the documentation's /bin/hello is. Static, so that a root file system needs nothing else. */
#include <unistd.h>

int main(void)
{
	static const char greeting[] = "hello\n";

	return write(STDOUT_FILENO, greeting, sizeof(greeting) - 1) == sizeof(greeting) - 1 ? 0 : 1;
}
