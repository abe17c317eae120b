package denylist

// WriteBy has another function write the file.
func (l *List) WriteBy(write func(path string, list any) error) { l.write = write }
