/* pause: the payload of a container that others are started in. It waits for its end. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
