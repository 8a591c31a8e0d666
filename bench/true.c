/* true: the payload of the benchmark. It does nothing, so that only the making of the container is measured. */
int main(void)
{
	return 0;
}
