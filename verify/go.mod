module reprise/verify

go 1.26.8

require (
	pgregory.net/rapid v1.3.0
	reprise v0.0.0-00010101000000-000000000000
)

replace reprise => ../
