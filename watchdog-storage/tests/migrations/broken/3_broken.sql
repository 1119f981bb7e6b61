CREATE TABLE half_done ();
SELECT * FROM absent;
